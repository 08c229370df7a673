// Builds the prepared database once: schema, catalogue, taxes, one promotion, a narrow API key, and paid orders.
// Prints one JSON line on standard output: {"apiKey": "...", "orders": N, "products": N}.
'use strict';
const fs = require('node:fs');
const path = require('node:path');
process.env.VENDURE_CREATE_SCHEMA = 'true';
const { bootstrap } = require('@vendure/core');
const { populate } = require('@vendure/core/cli');
const { config, gql, need, portOf } = require('./config.js');
const { placeMany, variantsOf } = require('./orders.js');

async function main() {
  const products = need('PRODUCTS_CSV');
  const wanted = Number(need('ORDERS'));
  let admin;
  let auth;
  const app = await populate(
    async () => {
      const started = await bootstrap(config);
      const base = `http://127.0.0.1:${portOf(started)}`;
      admin = `${base}/admin-api`;
      const login = await gql(
        admin,
        `mutation($u: String!, $p: String!) { login(username: $u, password: $p) { __typename } }`,
        { u: 'superadmin', p: need('VENDURE_PASSWORD') },
      );
      auth = { authorization: `Bearer ${login.token}` };
      // Before the products come: their prices are stored in the channel's currency of that moment.
      await gql(
        admin,
        `mutation { updateChannel(input: { id: "1", defaultCurrencyCode: EUR, availableCurrencyCodes: [EUR],
           pricesIncludeTax: false, trackInventory: true }) { __typename } }`,
        {},
        auth,
      );
      return started;
    },
    JSON.parse(fs.readFileSync(path.join(__dirname, 'initial-data.json'), 'utf8')),
    products,
  );
  const shop = admin.replace('admin-api', 'shop-api');

  // `populate` only logs its failures, so count what really arrived.
  const variants = await variantsOf(shop);
  const rows = fs.readFileSync(products, 'utf8').trim().split('\n').length - 1;
  if (variants.length !== rows) throw new Error(`${rows} products in ${products}, ${variants.length} in the shop`);

  await gql(
    admin,
    `mutation { createPromotion(input: {
       enabled: true, couponCode: "STECKER10",
       translations: [{ languageCode: en, name: "Ten percent off" }],
       conditions: [],
       actions: [{ code: "order_percentage_discount", arguments: [{ name: "discount", value: "10" }] }]
     }) { ... on Promotion { id } ... on ErrorResult { errorCode message } } }`,
    {},
    auth,
  );
  // What a connector may do here and nothing else; the administrator's own password never leaves the prepared folder.
  const { data: role } = await gql(
    admin,
    `mutation { createRole(input: { code: "connector", description: "Reads orders, writes stock",
       permissions: [ReadOrder, ReadCustomer, ReadProduct, UpdateProduct, ReadStockLocation] }) { id } }`,
    {},
    auth,
  );
  const { data: key } = await gql(
    admin,
    `mutation($r: ID!) { createApiKey(input: { roleIds: [$r],
       translations: [{ languageCode: en, name: "connector" }] }) { apiKey } }`,
    { r: role.createRole.id },
    auth,
  );

  const codes = await placeMany(shop, 0, wanted);
  await app.close();
  console.log(JSON.stringify({ apiKey: key.createApiKey.apiKey, orders: codes.length, products: variants.length }));
}

main().then(
  () => process.exit(0),
  error => {
    console.error(error);
    process.exit(1);
  },
);
