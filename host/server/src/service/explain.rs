//! Explaining a business key.

use stecker_model::api::{ExplainRequest, Explanation, Problem};

use super::Service;
use crate::problem;

/// Bytes of a key, as of records.
const KEY_BYTES: usize = 512;

pub(super) async fn explain(service: &Service, request: &ExplainRequest) -> Result<Explanation, Problem> {
    if request.key.trim().is_empty() {
        return Err(problem::invalid_field(
            "key",
            "is empty; give a key, an id at a destination, or the beginning or end of one",
        ));
    }
    if request.key.len() > KEY_BYTES {
        return Err(problem::invalid_field(
            "key",
            format!("has more than {KEY_BYTES} bytes, and no key has"),
        ));
    }
    if let Some(flow) = &request.flow {
        service.has_flow(flow).await?;
    }
    service
        .engine
        .explain(&service.tenant, request)
        .await
        .map_err(problem::flow)
}
