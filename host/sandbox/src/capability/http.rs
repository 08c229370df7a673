//! Requests to other systems: the guest's side of `egress`.

use futures_util::{StreamExt as _, stream};
use stecker_model::{ErrorCode, PluginError};

use crate::{
    binding::{Denial, Observer},
    call::Caller,
    egress::{self, Exchange, Failure, HttpRequest, HttpResponse, ResponseBudget},
};

/// In one `send-many`.
const MAX_REQUESTS: usize = 256;
/// Of one `send-many`, at the same time.
const IN_FLIGHT: usize = 8;

pub(crate) async fn send(caller: &Caller, request: HttpRequest) -> Result<HttpResponse, PluginError> {
    let budget = ResponseBudget::for_guest(caller.bound.memory_limit);
    send_within(caller, request, &budget).await
}

/// All together have the room for answers that one has alone: they end up in the same guest's memory.
pub(crate) async fn send_many(
    caller: &Caller,
    requests: Vec<HttpRequest>,
) -> Vec<Result<HttpResponse, PluginError>> {
    let budget = &ResponseBudget::for_guest(caller.bound.memory_limit);
    stream::iter(requests.into_iter().enumerate())
        .map(|(i, request)| async move {
            if i >= MAX_REQUESTS {
                return Err(PluginError::new(
                    ErrorCode::Unsupported,
                    format!("`send-many` takes {MAX_REQUESTS} requests; this one was not sent"),
                )
                .with_detail("sent", "no"));
            }
            send_within(caller, request, budget).await
        })
        .buffered(IN_FLIGHT)
        .collect()
        .await
}

/// Within the room that the caller has for answers.
pub(super) async fn send_within(
    caller: &Caller,
    request: HttpRequest,
    budget: &ResponseBudget,
) -> Result<HttpResponse, PluginError> {
    let sent = caller.bound.egress.send(request, exchange_of(caller, budget));
    sent.await.map_err(|failure| told(caller, failure))
}

pub(super) fn exchange_of<'a>(caller: &'a Caller, budget: &'a ResponseBudget) -> Exchange<'a> {
    Exchange {
        remaining: caller.remaining(),
        priority: caller.priority,
        budget,
        meter: &caller.meter,
        credentials: &caller.bound.binding.credentials,
        scrubber: &caller.bound.scrubber,
        recorder: caller.options.recorder(),
    }
}

/// What the guest hears of a failure, and the operator of a denial.
pub(super) fn told(caller: &Caller, failure: Failure) -> PluginError {
    let (observer, scrubber) = (&*caller.bound.binding.observer, &caller.bound.scrubber);
    match failure {
        Failure::Denied(denial) => denied(observer, scrubber.denial(*denial)),
        Failure::AnswerDenied(denial) => egress::maybe(denied(observer, scrubber.denial(*denial))),
        Failure::Error(error) => scrubber.error(error),
    }
}

/// Tells the operator, and makes the error that the guest gets.
pub(crate) fn denied(observer: &dyn Observer, denial: Denial) -> PluginError {
    observer.denied(&denial);
    let message = denial.to_string();
    PluginError::new(ErrorCode::Denied, message)
        .with_detail("rule", denial.rule)
        .with_detail("layer", denial.layer)
        .with_detail("sent", "no")
}
