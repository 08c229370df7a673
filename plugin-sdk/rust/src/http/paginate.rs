//! Following pages. For reading *within one call*, such as a lookup: a source's `read` returns one page and a cursor instead.

use super::{RequestBuilder, Response};
use crate::{Error, Result};

/// A page that leads to itself would be followed for ever; no honest reading of one call needs as many.
const MOST_PAGES: u32 = 1_000;

/// Follows pages: `next` says from a response, and the request that it answers, which request comes next. Responses have been
/// through [`Response::error_for_status`]; the first error ends it.
pub fn pages<F>(first: RequestBuilder, next: F) -> Pages<F>
where
    F: FnMut(&Response, &RequestBuilder) -> Result<Option<RequestBuilder>>,
{
    Pages {
        request: Some(first),
        next,
        count: 0,
    }
}

/// Follows the `Link` header's relation `next` (RFC 8288). A link to another origin is an error: the credential would go
/// along.
pub fn pages_by_link(
    first: RequestBuilder,
) -> Pages<impl FnMut(&Response, &RequestBuilder) -> Result<Option<RequestBuilder>>> {
    pages(first, |response, request| {
        let Some(link) = response.link("next") else {
            return Ok(None);
        };
        let here = origin(&request.request.url);
        let url = if link.starts_with('/') && !link.starts_with("//") {
            format!("{here}{link}")
        } else {
            link.to_owned()
        };
        if origin(&url) != here {
            return Err(Error::schema(format!(
                "the link to the next page leads from {here} to {}",
                origin(&url)
            )));
        }
        Ok(Some(request.clone().with_url(url)))
    })
}

/// Scheme, host and port.
fn origin(url: &str) -> &str {
    let start = url.find("://").map_or(0, |at| at + 3);
    let end = url[start..]
        .find(['/', '?', '#'])
        .map_or(url.len(), |at| start + at);
    &url[..end]
}

/// Made by [`pages`] and [`pages_by_link`]; yields responses.
#[derive(Debug)]
pub struct Pages<F> {
    request: Option<RequestBuilder>,
    next: F,
    count: u32,
}

impl<F> Pages<F>
where
    F: FnMut(&Response, &RequestBuilder) -> Result<Option<RequestBuilder>>,
{
    fn step(&mut self, request: &RequestBuilder) -> Result<Response> {
        if self.count >= MOST_PAGES {
            return Err(Error::schema(format!(
                "the pages do not end: {MOST_PAGES} were followed"
            )));
        }
        self.count += 1;
        let response = request.clone().send()?.error_for_status()?;
        self.request = (self.next)(&response, request)?;
        Ok(response)
    }
}

impl<F> Iterator for Pages<F>
where
    F: FnMut(&Response, &RequestBuilder) -> Result<Option<RequestBuilder>>,
{
    type Item = Result<Response>;

    fn next(&mut self) -> Option<Self::Item> {
        let request = self.request.take()?;
        Some(self.step(&request))
    }
}
