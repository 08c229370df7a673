"""Verifies and makes DSSE envelopes with securesystemslib, for tests/tools.rs."""

import json
import sys

from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key
from securesystemslib.dsse import Envelope
from securesystemslib.signer import CryptoSigner, SSlibKey


def main(verb, key_file, file):
    with open(key_file, "rb") as source:
        pem = source.read()
    if verb == "verify":
        with open(file, encoding="utf-8") as source:
            read = json.load(source)
        # It compares ids before it tries a key; the id is the signer's choice.
        keyid = read["signatures"][0]["keyid"]
        key = SSlibKey.from_crypto(load_pem_public_key(pem), keyid=keyid)
        Envelope.from_dict(read).verify([key], 1)
    else:
        envelope = Envelope(b"made elsewhere", "c/d", {})
        envelope.sign(CryptoSigner(load_pem_private_key(pem, None)))
        with open(file, "w", encoding="utf-8") as target:
            json.dump(envelope.to_dict(), target)


main(*sys.argv[1:])
