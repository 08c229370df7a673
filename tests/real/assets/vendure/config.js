// What the seed and the server have in common. Everything that differs between machines and runs comes by environment.
'use strict';
process.env.TZ = 'UTC';
process.env.VENDURE_DISABLE_TELEMETRY = 'true';

const {
  DefaultJobQueuePlugin,
  DefaultLogger,
  LogLevel,
  dummyPaymentHandler,
} = require('@vendure/core');

function need(name) {
  const value = process.env[name];
  if (!value) throw new Error(`environment variable ${name} is not set`);
  return value;
}

exports.need = need;

exports.config = {
  // Standard output belongs to the conversation with the parent process, so the log goes to standard error.
  logger: new (class extends DefaultLogger {
    logMessage(prefix, message, context) {
      process.stderr.write(`${prefix} ${context || ''} ${message}\n`);
    }
  })({ level: LogLevel.Warn, timestamp: false }),
  apiOptions: {
    hostname: '127.0.0.1',
    // 0 lets the system choose one; a shop that is started again has the one that it had.
    port: Number(process.env.VENDURE_PORT || 0),
    cors: false,
    adminApiPath: 'admin-api',
    shopApiPath: 'shop-api',
  },
  authOptions: {
    tokenMethod: ['bearer', 'api-key'],
    superadminCredentials: { identifier: 'superadmin', password: need('VENDURE_PASSWORD') },
    requireVerification: false,
  },
  dbConnectionOptions: {
    type: 'better-sqlite3',
    database: need('VENDURE_DB'),
    synchronize: process.env.VENDURE_CREATE_SCHEMA === 'true',
    logging: false,
  },
  paymentOptions: { paymentMethodHandlers: [dummyPaymentHandler] },
  customFields: {},
  plugins: [DefaultJobQueuePlugin.init({ useDatabaseForBuffer: true, pollInterval: 500 })],
};

/** The port that the system chose for us. */
exports.portOf = app => app.getHttpServer().address().port;

/** One GraphQL request; throws on transport errors and on top-level `errors`. */
exports.gql = async function gql(url, query, variables, headers = {}) {
  const response = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify({ query, variables }),
  });
  const body = await response.json();
  if (body.errors) throw new Error(`${url}: ${JSON.stringify(body.errors[0])}`);
  return { data: body.data, token: response.headers.get('vendure-auth-token') };
};
