// Places orders the way a shopper's browser does: through the shop API, one anonymous session per order.
'use strict';
const { gql } = require('./config.js');

const SURNAMES = ['Müller', 'Schäfer', 'Groß', 'Öztürk', 'Nowak', 'Lindqvist', "O'Neill", 'Weiß', 'Kraus', 'Bähr'];
const GIVEN = ['Anke', 'Jörg', 'Sünje', 'Emre', 'Zoë', 'Friedrich', 'Ida', 'René'];
const PLACES = [
  ['Hauptstraße 1', '53111', 'Bonn', 'DE'],
  ['Am Deich 14b', '26721', 'Emden', 'DE'],
  ['Königsallee 200', '40212', 'Düsseldorf', 'DE'],
  ['Gänsemarkt 7', '20354', 'Hamburg', 'DE'],
  ['Straße des Friedens 33', '04109', 'Leipzig', 'DE'],
  ['Mariahilfer Straße 88/2/11', '1070', 'Wien', 'AT'],
];

/** A small generator with a fixed start, so that every machine gets the same orders. */
function dice(seed) {
  let state = seed >>> 0;
  return n => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 4294967296) * n);
  };
}

const ORDER = `... on Order { id code state totalWithTax } ... on ErrorResult { errorCode message }`;

/** What a mutation answered with, unless that is a refusal. */
function good(step, result) {
  if (result && result.errorCode) throw new Error(`${step}: ${result.errorCode}: ${result.message}`);
  return result;
}

/** Places order number `index` (the number decides its contents) and returns its code. */
async function place(shop, variants, index) {
  const roll = dice(7919 * (index + 1));
  const lines = [];
  const count = 1 + roll(4);
  while (lines.length < count) {
    const variant = variants[roll(variants.length)];
    if (!lines.some(l => l.id === variant)) lines.push({ id: variant, quantity: 1 + roll(3) });
  }
  // Fewer people than orders: some come back, and are then updated instead of created again.
  const person = roll(45);
  const customer = {
    firstName: GIVEN[person % GIVEN.length],
    lastName: SURNAMES[person % SURNAMES.length],
    emailAddress: `shopper${String(person).padStart(2, '0')}@example.com`,
  };
  const [streetLine1, postalCode, city, countryCode] = PLACES[person % PLACES.length];
  const address = {
    fullName: `${customer.firstName} ${customer.lastName}`,
    streetLine1,
    postalCode,
    city,
    countryCode,
    ...(person % 9 === 0 ? { company: `${customer.lastName} & Söhne GmbH` } : {}),
  };

  const first = await gql(
    shop,
    `mutation($id: ID!, $q: Int!) { addItemToOrder(productVariantId: $id, quantity: $q) { ${ORDER} } }`,
    { id: lines[0].id, q: lines[0].quantity },
  );
  good('addItemToOrder', first.data.addItemToOrder);
  const auth = { authorization: `Bearer ${first.token}` };
  for (const line of lines.slice(1)) {
    const { data } = await gql(
      shop,
      `mutation($id: ID!, $q: Int!) { addItemToOrder(productVariantId: $id, quantity: $q) { ${ORDER} } }`,
      { id: line.id, q: line.quantity },
      auth,
    );
    good('addItemToOrder', data.addItemToOrder);
  }
  const { data: who } = await gql(
    shop,
    `mutation($c: CreateCustomerInput!, $a: CreateAddressInput!) {
       setCustomerForOrder(input: $c) { ${ORDER} }
       setOrderShippingAddress(input: $a) { ${ORDER} }
       setOrderBillingAddress(input: $a) { ${ORDER} }
     }`,
    { c: customer, a: address },
    auth,
  );
  for (const [step, result] of Object.entries(who)) good(step, result);
  if (index % 7 === 3) {
    // A percentage off the whole order: the hard case for anyone who sums unit prices.
    const { data } = await gql(shop, `mutation { applyCouponCode(couponCode: "STECKER10") { ${ORDER} } }`, {}, auth);
    good('applyCouponCode', data.applyCouponCode);
  }
  const { data: offer } = await gql(shop, '{ eligibleShippingMethods { id } }', {}, auth);
  const methods = offer.eligibleShippingMethods;
  const { data: paid } = await gql(
    shop,
    `mutation($m: [ID!]!) {
       setOrderShippingMethod(shippingMethodId: $m) { ${ORDER} }
       transitionOrderToState(state: "ArrangingPayment") { ${ORDER} }
       addPaymentToOrder(input: { method: "prepaid", metadata: {} }) { ${ORDER} }
     }`,
    { m: [methods[roll(methods.length)].id] },
    auth,
  );
  for (const [step, result] of Object.entries(paid)) good(step, result);
  if (paid.addPaymentToOrder.state !== 'PaymentSettled') {
    throw new Error(`order ${paid.addPaymentToOrder.code} ended in state ${paid.addPaymentToOrder.state}`);
  }
  return paid.addPaymentToOrder.code;
}

/** The variants on sale, in a stable order. */
exports.variantsOf = async function variantsOf(shop) {
  const { data } = await gql(shop, '{ products(options: { take: 100 }) { items { variants { id } } } }');
  return data.products.items.flatMap(p => p.variants.map(v => v.id)).sort((a, b) => Number(a) - Number(b));
};

/** Places `count` orders, numbered from `from` on, one after the other. */
exports.placeMany = async function placeMany(shop, from, count) {
  const variants = await exports.variantsOf(shop);
  const codes = [];
  for (let i = 0; i < count; i++) codes.push(await place(shop, variants, from + i));
  return codes;
};

/** Ships all of each order, as somebody in the warehouse would; `auth` is an administrator's. */
exports.shipAll = async function shipAll(admin, auth, codes) {
  for (const code of codes) {
    const { data: found } = await gql(
      admin,
      `query($c: String!) { orders(options: { filter: { code: { eq: $c } } }) { items { lines { id quantity } } } }`,
      { c: code },
      auth,
    );
    const [order] = found.orders.items;
    if (!order) throw new Error(`there is no order ${code}`);
    const lines = order.lines.map(line => ({ orderLineId: line.id, quantity: line.quantity }));
    const handler = { code: 'manual-fulfillment', arguments: [{ name: 'method', value: 'post' }] };
    const { data: packed } = await gql(
      admin,
      `mutation($i: FulfillOrderInput!) { addFulfillmentToOrder(input: $i) {
         ... on Fulfillment { id } ... on ErrorResult { errorCode message } } }`,
      { i: { lines, handler } },
      auth,
    );
    const { data: sent } = await gql(
      admin,
      `mutation($id: ID!) { transitionFulfillmentToState(id: $id, state: "Shipped") {
         ... on Fulfillment { id } ... on ErrorResult { errorCode message } } }`,
      { id: good('addFulfillmentToOrder', packed.addFulfillmentToOrder).id },
      auth,
    );
    good('transitionFulfillmentToState', sent.transitionFulfillmentToState);
  }
};
