-- Webhooks that go out, and the forgetting of those that came in. One text for SQLite and Postgres; see 0001 for the types.

-- Who wants to be told of events. id is made when the webhook is: one that is made again under the same name gets nothing of what was
-- meant for its predecessor. events and flows are JSON; none: all. enabled goes up whenever it is enabled: what was sent before a person
-- enabled it must not disable it again. The secret is in the vault (part `webhook`).
CREATE TABLE subscriptions (
  tenant C_TEXT NOT NULL REFERENCES tenants (tenant),
  name C_TEXT NOT NULL,
  id C_TEXT NOT NULL,
  url C_TEXT NOT NULL,
  events C_TEXT,
  flows C_TEXT,
  created_at BIGINT NOT NULL,
  enabled BIGINT NOT NULL,
  disabled_at BIGINT,
  disabled_reason C_TEXT,
  failing_since BIGINT,
  old_secret_until BIGINT,
  PRIMARY KEY (tenant, name)
);

CREATE INDEX subscriptions_with_old_secret ON subscriptions (old_secret_until) WHERE old_secret_until IS NOT NULL;

-- Events on their way, a row for each webhook that wants one, written by the transaction in which it happened. No foreign key, as with
-- the ledger: that transaction may be the hot one. state is waiting, delivered or failed. A node that sends takes the row with a new number
-- of `claim` and moves next_try_at to where that runs out; only the holder of the newest claim writes down what came of it.
CREATE TABLE outbox (
  tenant C_TEXT NOT NULL,
  id C_TEXT NOT NULL,
  subscription C_TEXT NOT NULL,
  event C_TEXT NOT NULL,
  created_at BIGINT NOT NULL,
  body C_TEXT NOT NULL,
  state C_TEXT NOT NULL,
  tries BIGINT NOT NULL,
  next_try_at BIGINT NOT NULL,
  claim BIGINT NOT NULL,
  owner C_TEXT,
  settled_at BIGINT,
  attempts C_TEXT NOT NULL,
  PRIMARY KEY (tenant, id)
);

CREATE INDEX outbox_due ON outbox (tenant, subscription, next_try_at) WHERE state = 'waiting';
CREATE INDEX outbox_by_subscription ON outbox (tenant, subscription, id);
CREATE INDEX outbox_claimed ON outbox (owner) WHERE owner IS NOT NULL;
CREATE INDEX outbox_waiting_by_age ON outbox (created_at) WHERE state = 'waiting';
CREATE INDEX outbox_settled_by_age ON outbox (settled_at) WHERE state <> 'waiting';

-- What came in: how much of it is not settled, and what has been there long enough.
CREATE INDEX webhooks_open ON webhooks (tenant, connection) WHERE state = 'received';
CREATE INDEX webhooks_settled_by_age ON webhooks (settled_at) WHERE state <> 'received';
CREATE INDEX webhook_events_by_age ON webhook_events (seen_at);
