"""Singer: a tap and a target, two processes with a pipe between them; `tap` or `target` is the only argument."""

import os
import sys

from shop import API, BATCH, PAGE, book_all

# Else each batch is several lines of log.
os.environ["TAP_SHOP_LOGLEVEL"] = os.environ["TARGET_ERP_LOGLEVEL"] = "WARNING"

from singer_sdk import Tap, Target  # noqa: E402 (reads its settings when it is imported)
from singer_sdk import typing as th  # noqa: E402
from singer_sdk.sinks import BatchSink  # noqa: E402
from singer_sdk.streams import RESTStream  # noqa: E402

LINE = th.ObjectType(
    th.Property("sku", th.StringType),
    th.Property("name", th.StringType),
    th.Property("quantity", th.IntegerType),
    th.Property("unit_price", th.StringType),
)


class Orders(RESTStream):
    name = "orders"
    path = "/orders"
    url_base = API
    primary_keys = ("id",)
    replication_key = "id"
    is_sorted = True
    records_jsonpath = "$.orders[*]"
    next_page_token_jsonpath = "$.next"
    schema = th.PropertiesList(
        th.Property("id", th.IntegerType),
        th.Property("number", th.StringType),
        th.Property("version", th.IntegerType),
        th.Property("updated_at", th.StringType),
        th.Property("status", th.StringType),
        th.Property("customer", th.ObjectType(
            th.Property("id", th.IntegerType),
            th.Property("email", th.StringType),
            th.Property("name", th.StringType),
        )),
        th.Property("currency", th.StringType),
        th.Property("total", th.StringType),
        th.Property("lines", th.ArrayType(LINE)),
    ).to_dict()

    def get_url_params(self, context, next_page_token):
        return {"after": next_page_token or self.get_starting_replication_key_value(context) or 0, "limit": PAGE}

    def backoff_wait_generator(self):
        return self.backoff_runtime(value=lambda error: float(error.response.headers.get("Retry-After", 1)) + 0.01)

    def backoff_max_tries(self):
        return 20


class Shop(Tap):
    name = "tap-shop"
    config_jsonschema = th.PropertiesList().to_dict()

    def discover_streams(self):
        return [Orders(self)]


class Sales(BatchSink):
    max_size = BATCH

    def process_batch(self, context):
        book_all(context["records"])


class Erp(Target):
    name = "target-erp"
    config_jsonschema = th.PropertiesList().to_dict()
    default_sink_class = Sales


if __name__ == "__main__":
    (Shop if sys.argv.pop(1) == "tap" else Erp).cli()
