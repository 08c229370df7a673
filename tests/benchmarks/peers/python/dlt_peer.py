"""dlt: a generator with paging and an incremental cursor, into a destination of our own."""

import os

from shop import API, BATCH, PAGE, STATE, book_all

os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
os.environ["RUNTIME__LOG_LEVEL"] = "CRITICAL"
# Files of one batch of jobs each, so that the loader's workers have something to do side by side.
os.environ["DATA_WRITER__FILE_MAX_ITEMS"] = "5000"
os.environ["LOAD__WORKERS"] = "4"

import dlt  # noqa: E402 (reads its settings when it is imported)
from dlt.sources.helpers.requests import Client  # noqa: E402

client = Client(request_backoff_factor=0.01, request_max_attempts=20)


@dlt.resource(name="orders", primary_key="id", write_disposition="append", max_table_nesting=0)
def orders(last=dlt.sources.incremental("id", initial_value=0)):
    after = last.last_value
    while True:
        page = client.get(f"{API}/orders", params={"after": after, "limit": PAGE}).json()
        if page["orders"]:
            yield page["orders"]
            after = page["orders"][-1]["id"]
        if page["next"] is None:
            return


@dlt.destination(name="erp", batch_size=BATCH, loader_file_format="typed-jsonl", naming_convention="direct",
                 skip_dlt_columns_and_tables=True, max_table_nesting=0)
def erp(items, table):
    book_all(items)


if __name__ == "__main__":
    pipeline = dlt.pipeline("orders_to_erp", destination=erp, pipelines_dir=STATE)
    pipeline.run(orders()).raise_on_failed_jobs()
