//! Signatures, attestations, tokens of pipelines, receipts.

mod attestations;
mod audits;
mod bundles;
mod certificates;
mod changed_bytes;
mod fixtures;
mod hostile;
mod keys;
mod provenance_shapes;
mod receipts;
mod signing;
mod token_claims;
mod tokens;
mod whose;
