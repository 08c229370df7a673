// Verifies and makes Sigstore bundles with Sigstore's own packages, for tests/tools.rs.

const crypto = require('crypto');
const fs = require('fs');
const { bundleFromJSON, bundleToJSON } = require('@sigstore/bundle');
const { DSSEBundleBuilder, MessageSignatureBundleBuilder } = require('@sigstore/sign');
const { Verifier, toSignedEntity, toTrustMaterial } = require('@sigstore/verify');

const [verb, keyFile, file, other, payloadType] = process.argv.slice(2);
const pem = fs.readFileSync(keyFile, 'utf8');

function verify() {
  const bundle = bundleFromJSON(JSON.parse(fs.readFileSync(file, 'utf8')));
  const publicKey = crypto.createPublicKey(pem);
  const nobody = { certificateAuthorities: [], timestampAuthorities: [], tlogs: [], ctlogs: [] };
  const trust = toTrustMaterial(nobody, () => ({ publicKey, validFor: () => true }));
  const options = { tlogThreshold: 0, ctlogThreshold: 0, timestampThreshold: 0 };
  new Verifier(trust, options).verify(toSignedEntity(bundle, fs.readFileSync(other)));
}

async function make() {
  const key = crypto.createPrivateKey(pem);
  const hash = key.asymmetricKeyType === 'ed25519' ? null : 'sha256';
  const signer = {
    sign: async (data) => ({
      signature: crypto.sign(hash, data, key),
      key: { $case: 'publicKey', publicKey: crypto.createPublicKey(key), hint: 'made-elsewhere' },
    }),
  };
  const Builder = verb === 'statement' ? DSSEBundleBuilder : MessageSignatureBundleBuilder;
  const builder = new Builder({ signer, witnesses: [] });
  const bundle = await builder.create({ data: fs.readFileSync(file), type: payloadType });
  fs.writeFileSync(other, JSON.stringify(bundleToJSON(bundle)));
}

Promise.resolve(verb === 'verify' ? verify() : make()).catch((error) => {
  console.error(error);
  process.exit(1);
});
