//! Reading the three streams.

use crate::{Vendure, catalogue, orders, window};
use stecker_sdk::prelude::*;

const READ: &[&str] = &[orders::STREAM, catalogue::PRODUCTS, catalogue::CUSTOMERS];

impl Source for Vendure {
    fn read(&self, request: &ReadRequest) -> Result<Page> {
        let (most, settle) = (self.page_size, self.settle_ms);
        match request.stream.as_str() {
            orders::STREAM => window::read(
                request,
                most,
                settle,
                |after, skip, take| orders::list(&self.api, after, skip, take),
                |order| order.record(&self.order_states),
            ),
            catalogue::PRODUCTS => window::read(
                request,
                most,
                settle,
                |after, skip, take| catalogue::variants(&self.api, after, skip, take),
                catalogue::Variant::record,
            ),
            catalogue::CUSTOMERS => window::read(
                request,
                most,
                settle,
                |after, skip, take| catalogue::people(&self.api, after, skip, take),
                catalogue::Person::record,
            ),
            other => Err(unknown_stream(other, READ)),
        }
    }
}
