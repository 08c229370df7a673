"""Airbyte's CDK: a source and a destination, two processes with a pipe between them; `source` or `destination` and then what the protocol says."""

import sys

from airbyte_cdk.destinations import Destination
from airbyte_cdk.entrypoint import launch
from airbyte_cdk.models import AirbyteConnectionStatus, ConnectorSpecification, Status, Type
from airbyte_cdk.sources import AbstractSource
from airbyte_cdk.sources.streams.core import CheckpointMixin
from airbyte_cdk.sources.streams.http import HttpStream
from airbyte_cdk.sources.streams.http.error_handlers import BackoffStrategy

from shop import API, BATCH, PAGE, book_all

SPEC = ConnectorSpecification(connectionSpecification={"type": "object", "properties": {}})


class AsToldTo(BackoffStrategy):
    def backoff_time(self, response_or_exception, attempt_count):
        headers = getattr(response_or_exception, "headers", {})
        return float(headers.get("Retry-After", 1)) + 0.01


class Orders(HttpStream, CheckpointMixin):
    url_base = API
    primary_key = "id"
    cursor_field = "id"
    state_checkpoint_interval = 5_000

    def __init__(self):
        super().__init__()
        self._state = {}

    @property
    def state(self):
        return self._state

    @state.setter
    def state(self, value):
        self._state = value

    def path(self, **kwargs):
        return "/orders"

    def request_params(self, stream_state, stream_slice=None, next_page_token=None):
        return {"after": (next_page_token or {}).get("after", (self._state or {}).get("id", 0)), "limit": PAGE}

    def next_page_token(self, response):
        after = response.json()["next"]
        return None if after is None else {"after": after}

    def parse_response(self, response, **kwargs):
        for order in response.json()["orders"]:
            yield order
            self._state = {"id": order["id"]}

    def get_json_schema(self):
        return {"type": "object", "properties": {"id": {"type": "integer"}}}

    def get_backoff_strategy(self):
        return AsToldTo()


class Shop(AbstractSource):
    def spec(self, logger):
        return SPEC

    def check_connection(self, logger, config):
        return True, None

    def streams(self, config):
        return [Orders()]


class Erp(Destination):
    def spec(self, *args, **kwargs):
        return SPEC

    def check(self, logger, config):
        return AirbyteConnectionStatus(status=Status.SUCCEEDED)

    def write(self, config, configured_catalog, input_messages):
        batch = []
        for message in input_messages:
            if message.type == Type.RECORD:
                batch.append(message.record.data)
                if len(batch) == BATCH:
                    book_all(batch)
                    batch = []
            elif message.type == Type.STATE:
                book_all(batch)
                batch = []
                yield message
        book_all(batch)


if __name__ == "__main__":
    if sys.argv.pop(1) == "source":
        launch(Shop(), sys.argv[1:])
    else:
        Erp().run(sys.argv[1:])
