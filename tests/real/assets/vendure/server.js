// Serves a copy of the prepared database on a port that the system chooses, or on the one that it is told.
// Speaks JSON lines with its parent: {"ready": {"port": N}} once; then one answer for each line it is given:
//   {"hook": {"url", "secret"}} | {"hook": null} | {"place": {"from", "count"}} | {"ship": [code]}  ->  {"done": ...} | {"failed": "..."}
// It ends when its standard input closes, so it cannot outlive a parent that was killed.
'use strict';
const crypto = require('node:crypto');
const readline = require('node:readline');
const { bootstrap, EventBus, JobQueueService, OrderStateTransitionEvent } = require('@vendure/core');
const { config, gql, need, portOf } = require('./config.js');
const { placeMany, shipAll } = require('./orders.js');

let hook = null;
const say = message => process.stdout.write(`${JSON.stringify(message)}\n`);
const pause = ms => new Promise(resolve => setTimeout(resolve, ms));

/** Posts one event; the same id and body again after a failure, three times in all. */
async function post(target, event) {
  const body = JSON.stringify(event);
  const signature = crypto.createHmac('sha256', target.secret).update(body).digest('hex');
  for (const wait of [0, 500, 2000]) {
    await pause(wait);
    try {
      const response = await fetch(target.url, {
        method: 'POST',
        headers: {
          'content-type': 'application/json',
          'x-vendure-signature': signature,
          'x-vendure-event-id': event.id,
        },
        body,
      });
      if (response.ok) return;
      console.error(`webhook ${event.id}: ${target.url} answered ${response.status}`);
    } catch (error) {
      console.error(`webhook ${event.id}: ${target.url}: ${error.message}`);
    }
  }
}

async function main() {
  const app = await bootstrap(config);
  await app.get(JobQueueService).start();
  const port = portOf(app);
  app
    .get(EventBus)
    .ofType(OrderStateTransitionEvent)
    .subscribe(({ order, toState }) => {
      if (!hook || ['AddingItems', 'ArrangingPayment'].includes(toState)) return;
      post(hook, {
        id: crypto.randomUUID(),
        type: `order.${toState}`,
        occurredAt: new Date().toISOString(),
        order: { id: String(order.id), code: order.code, state: toState },
      });
    });

  const commands = {
    hook: async value => {
      hook = value;
      return null;
    },
    place: ({ from, count }) => placeMany(`http://127.0.0.1:${port}/shop-api`, from, count),
    ship: async codes => {
      const admin = `http://127.0.0.1:${port}/admin-api`;
      const { token } = await gql(
        admin,
        `mutation($p: String!) { login(username: "superadmin", password: $p) { __typename } }`,
        { p: need('VENDURE_PASSWORD') },
      );
      await shipAll(admin, { authorization: `Bearer ${token}` }, codes);
      return null;
    },
  };
  const lines = readline.createInterface({ input: process.stdin });
  lines.on('close', () => process.exit(0));
  lines.on('line', async line => {
    try {
      const [[name, value]] = Object.entries(JSON.parse(line));
      say({ done: await commands[name](value) });
    } catch (error) {
      say({ failed: error.message });
    }
  });
  say({ ready: { port } });
}

main().catch(error => {
  console.error(error);
  process.exit(1);
});
