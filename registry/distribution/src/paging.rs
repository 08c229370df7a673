//! Lists in pages: `n` and `last` of a request, and the `Link` header (RFC 8288) that names the next page.

use url::form_urlencoded;

use crate::name::shortened;

/// The parameters of a request's query, decoded, in their order.
#[derive(Debug, Clone, Default)]
pub(crate) struct QueryPairs(Vec<(String, String)>);

impl QueryPairs {
    /// Reads `a=b&c=d`.
    #[must_use]
    pub(crate) fn parse(query: Option<&str>) -> Self {
        let pairs = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
        Self(pairs.into_owned().collect())
    }

    /// The first value of a name.
    #[must_use]
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// All values of a name.
    pub(crate) fn all<'s>(&'s self, name: &str) -> impl Iterator<Item = &'s str> {
        self.0
            .iter()
            .filter(move |(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }
}

/// Which page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Page {
    /// At most so many entries, if the request says so.
    pub(crate) n: Option<u32>,
    /// Entries after this one, in the order of their bytes.
    pub(crate) last: String,
}

/// The number of a page is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`n={text}` is not a number of entries: give a whole number from 0 on")]
pub(crate) struct PageError {
    /// The value, shortened.
    pub text: String,
}

impl Page {
    /// Reads `n` and `last`. A number too large for 32 bits is as good as none.
    ///
    /// # Errors
    /// `n` is not a number.
    pub(crate) fn parse(query: &QueryPairs) -> Result<Self, PageError> {
        let n = match query.get("n") {
            None => None,
            Some(text) if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) => text.parse().ok(),
            Some(text) => {
                return Err(PageError {
                    text: shortened(text),
                });
            }
        };
        Ok(Self {
            n,
            last: query.get("last").unwrap_or_default().to_owned(),
        })
    }

    /// How many entries to answer with, if there may be `most` at once.
    #[must_use]
    pub(crate) fn limit(&self, most: u32) -> u32 {
        self.n.map_or(most, |n| n.min(most))
    }
}

/// `<path?…>; rel="next"`, with the parameters encoded.
#[must_use]
pub(crate) fn next_link(path: &str, parameters: &[(&str, &str)]) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(parameters);
    format!("<{path}?{}>; rel=\"next\"", query.finish())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn page(query: &str) -> Result<Page, PageError> {
        Page::parse(&QueryPairs::parse(Some(query)))
    }

    #[test]
    fn pages_have_a_size_and_a_beginning() {
        assert_eq!(page("").unwrap().limit(100), 100);
        assert_eq!(page("n=0").unwrap().limit(100), 0);
        assert_eq!(
            page("n=5&last=v1").unwrap(),
            Page {
                n: Some(5),
                last: "v1".to_owned()
            }
        );
        assert_eq!(page("n=99999999999").unwrap().limit(100), 100);
        for bad in ["n=", "n=-1", "n=a", "n=+1", "n=1.0"] {
            assert!(page(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn the_next_page_is_what_its_link_says(last in "\\PC{0,40}", n in any::<u32>()) {
            let link = next_link("/v2/a/tags/list", &[("n", &n.to_string()), ("last", &last)]);
            let query = link.strip_prefix("</v2/a/tags/list?").unwrap().strip_suffix(">; rel=\"next\"").unwrap();
            prop_assert!(!query.contains(['<', '>', '"', '\n']));
            prop_assert_eq!(page(query).unwrap(), Page { n: Some(n), last });
        }
    }
}
