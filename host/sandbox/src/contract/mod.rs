//! One module per contract version: generated bindings, and what translates between them and [`stecker_model`]. Checks and policy live
//! elsewhere, on the model's types, so that they are the same for every version.

pub(crate) mod v1_0;
