"""Checks a receipt of the gate with securesystemslib, which nobody here wrote.

    python verify.py RECEIPT PUBLIC_KEY

RECEIPT is the file of a receipt, PUBLIC_KEY that of the gate's public key (`-----BEGIN PUBLIC KEY-----`). Prints OK and
exits 0 if the key signed the receipt and it is a SLSA verification summary in an in-toto statement; else says why not and
exits 1.
"""

import hashlib
import json
import sys

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key
from securesystemslib.dsse import Envelope
from securesystemslib.signer import SSlibKey

PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT = "https://in-toto.io/Statement/v1"
SUMMARY = "https://slsa.dev/verification_summary/v1"
NEEDED = {"verifier", "timeVerified", "resourceUri", "policy", "verificationResult", "verifiedLevels"}


def key_id(public_key):
    """The gate names its key by the SHA-256 of its DER."""
    der = public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(der).hexdigest()


def expect(holds, what):
    if not holds:
        raise ValueError(what)


def check(receipt_path, key_path):
    with open(key_path, "rb") as file:
        public_key = load_pem_public_key(file.read())
    with open(receipt_path, encoding="utf-8") as file:
        envelope = Envelope.from_dict(json.load(file))
    key = SSlibKey.from_crypto(public_key, keyid=key_id(public_key))
    envelope.verify([key], threshold=1)
    expect(envelope.payload_type == PAYLOAD_TYPE, f"the payload is of type {envelope.payload_type}")
    statement = json.loads(envelope.payload)
    expect(statement["_type"] == STATEMENT, f"the statement is of type {statement['_type']}")
    expect(statement["predicateType"] == SUMMARY, f"the predicate is of type {statement['predicateType']}")
    missing = NEEDED - set(statement["predicate"])
    expect(not missing, f"the summary lacks {', '.join(sorted(missing))}")
    expect(statement["predicate"]["verificationResult"] in ("PASSED", "FAILED"), "the result is neither PASSED nor FAILED")
    expect(all(len(subject["digest"]["sha256"]) == 64 for subject in statement["subject"]), "a subject has no SHA-256")


def main():
    if len(sys.argv) != 3:
        print(__doc__, file=sys.stderr)
        return 1
    try:
        check(sys.argv[1], sys.argv[2])
    except Exception as error:  # Whatever is wrong with a receipt, it is not good.
        print(f"not good: {type(error).__name__}: {error}", file=sys.stderr)
        return 1
    print("OK")
    return 0


if __name__ == "__main__":
    sys.exit(main())
