//! Infrastructure: Terraform's plans as JSON, and the policy in Rego that says what is wrong with them.
//!
//! # What a policy is given
//! `input` is the plan, reduced to what will exist once it is applied, and what the app may have:
//! ```json
//! {
//!   "complete": true,
//!   "resources": [{
//!     "address": "module.shop.aws_s3_bucket.receipts",
//!     "mode": "managed", "type": "aws_s3_bucket", "name": "receipts",
//!     "actions": ["create"],
//!     "values": {"bucket": "discount-receipts", "tags": {"app": "discount"}},
//!     "unknown": ["arn", "id"],
//!     "sensitive": ["password"],
//!     "paths": {"unknown": ["arn", "id"], "sensitive": ["password"]},
//!     "awaited": {}, "provisioners": []
//!   }],
//!   "app": "discount", "environment": "production", "tier": 1,
//!   "limits": {"max_vcpus": 2, "required_tags": ["app", "owner"]}
//! }
//! ```
//! Resources of child modules are among the rest, by their whole address; what will be deleted is not there. `mode` is
//! `managed`, or `data` for what is only read. `unknown` names the attributes that are known only after the plan is
//! applied, and `sensitive` those that were taken out, or had a part taken out, because Terraform marks them as secret:
//! neither has a value that a policy can look at. `paths` says the same to the point, as in `ingress.cidr_blocks`. `awaited`
//! holds those unknown attributes that the configuration writes itself, and what each is made of: `documents` (of IAM policies,
//! in the same plan), `elsewhere` (variables, local values, modules) or `resources`. `provisioners` names the kinds of commands
//! that are run with it. `complete` is false if the plan ended in an error or covers only a part.
//!
//! # What a policy says
//! Operators write modules of the package `tidegate.infrastructure.custom`, or of a package below it, in Rego v1. The
//! sets `deny`, `warn` and `note` hold what they find, each an object:
//! ```rego
//! package tidegate.infrastructure.custom
//!
//! deny contains {
//!     "rule": "region",
//!     "resource": resource.address,
//!     "title": sprintf("%s is not in Europe", [resource.address]),
//!     "fix": "Set `location` to `europe-west1`.",
//! } if {
//!     some resource in input.resources
//!     resource.type == "google_storage_bucket"
//!     resource.values.location != "EUROPE-WEST1"
//! }
//! ```
//! `rule` and `title` have to be there. `concern` is one of `public_data`, `wildcard_privileges`, `tags`, `size`,
//! `encryption` and `custom` (which it is if it is left out), `severity` one of `low`, `medium`, `high` and `critical`,
//! `resource` the address, `fix` what to write instead. Anything else is refused, so that a typing mistake is not a pass.
//! Nothing of theirs can take away what the server's own modules say.
//!
//! As in OPA, a function that cannot do what it is asked to, such as `to_number("x")`, is undefined, and a rule that needs it
//! finds nothing: ask for what has to be there in a rule of its own.
//!
//! A policy sees its input and nothing else: no network, no clock, no chance, no environment. [`FUNCTIONS`] are all it
//! can call. Its time, what its functions may make, and its own size are bounded.

mod bounded;
mod budget;
mod configuration;
mod plan;
mod policy;
mod verdict;
mod vet;

pub use self::bounded::{FUNCTIONS, MAX_TEXT_BYTES, MAX_VALUES};
pub use self::budget::{MAX_GROWTH_BYTES, TIME_LIMIT, TIME_PER_RESOURCE};
pub use self::plan::{MAX_PLAN_BYTES, MAX_PLAN_VALUES, MAX_RESOURCES, read};
pub use self::policy::{
    HARD_LIMIT, Limits, MAX_MODULE_BYTES, MAX_MODULES, MAX_RULES, Policies, PolicyError, compile, shipped,
};
