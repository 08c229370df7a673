//! Products and customers.
//!
//! A record of `products` is a variant, because that is what has a price, a stock level and a SKU, by which the other system
//! knows it. `updatedAt` of a variant does not move when only its product's name or description changes.

use crate::api::{Api, Items};
use crate::money::decimal;
use crate::orders::{entered, full_name};
use crate::window::Changing;
use serde_json::json;
use stecker_sdk::prelude::*;
use stecker_sdk::time;

pub(crate) const PRODUCTS: &str = "products";
pub(crate) const CUSTOMERS: &str = "customers";

const VARIANTS: &str = "query($options: ProductVariantListOptions) {
  productVariants(options: $options) {
    items {
      id sku name enabled price priceWithTax currencyCode updatedAt
      product { id name slug description }
      stockLevels { stockLocationId stockOnHand stockAllocated }
    }
  }
}";

const PEOPLE: &str = "query($options: CustomerListOptions) {
  customers(options: $options) {
    items {
      id title firstName lastName emailAddress phoneNumber updatedAt
      addresses {
        fullName company streetLine1 streetLine2 postalCode city province country { code } phoneNumber
        defaultShippingAddress defaultBillingAddress
      }
    }
  }
}";

/// A variant of a product. Amounts are decimal texts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ProductPayload {
    /// By which both systems know it. The record's key, so it has to be there and unique.
    pub sku: String,
    /// The shop's id of the variant.
    pub id: String,
    /// Name of the variant.
    pub name: String,
    /// Whether it is on sale.
    pub enabled: bool,
    /// Price of one, without tax.
    pub price: String,
    /// Price of one, tax included.
    pub price_with_tax: String,
    /// ISO 4217.
    pub currency: String,
    /// Id of the product that it is a variant of.
    pub product_id: String,
    /// Name of that product.
    pub product_name: String,
    /// Its description, as HTML.
    pub description: String,
    /// Pieces on hand, over all stock locations.
    pub stock_on_hand: i64,
    /// RFC 3339; may have whole seconds.
    pub updated_at: String,
}

/// A customer, registered or a guest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CustomerPayload {
    /// The shop's id.
    pub id: String,
    /// E-mail address.
    pub email: String,
    /// First and last name.
    pub name: String,
    /// First name.
    pub first_name: String,
    /// Last name.
    pub last_name: String,
    /// As entered.
    pub title: Option<String>,
    /// As entered.
    pub phone: Option<String>,
    /// The address book.
    pub addresses: Vec<BookedAddress>,
    /// RFC 3339; may have whole seconds.
    pub updated_at: String,
}

/// An address of a customer's address book.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BookedAddress {
    /// The address.
    #[serde(flatten)]
    pub address: crate::orders::Address,
    /// Whether goods go there unless said otherwise.
    pub default_shipping: bool,
    /// Whether invoices go there unless said otherwise.
    pub default_billing: bool,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Variant {
    id: String,
    sku: String,
    name: String,
    enabled: bool,
    price: i64,
    price_with_tax: i64,
    currency_code: String,
    updated_at: String,
    product: WireProduct,
    stock_levels: Vec<Level>,
}

#[derive(Debug, Deserialize)]
struct WireProduct {
    id: String,
    name: String,
    description: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Level {
    stock_on_hand: i64,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Person {
    id: String,
    title: Option<String>,
    first_name: String,
    last_name: String,
    email_address: String,
    phone_number: Option<String>,
    updated_at: String,
    addresses: Option<Vec<WireBooked>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireBooked {
    full_name: Option<String>,
    company: Option<String>,
    street_line1: Option<String>,
    street_line2: Option<String>,
    postal_code: Option<String>,
    city: Option<String>,
    province: Option<String>,
    country: WireCountry,
    phone_number: Option<String>,
    default_shipping_address: Option<bool>,
    default_billing_address: Option<bool>,
}

#[derive(Debug, Deserialize)]
struct WireCountry {
    code: String,
}

impl Changing for Variant {
    fn id(&self) -> &str {
        &self.id
    }

    fn updated_at(&self) -> &str {
        &self.updated_at
    }
}

impl Changing for Person {
    fn id(&self) -> &str {
        &self.id
    }

    fn updated_at(&self) -> &str {
        &self.updated_at
    }
}

/// Variants changed after a moment.
pub(crate) fn variants(api: &Api, after: &str, skip: u32, take: u32) -> Result<Vec<Variant>> {
    #[derive(Deserialize)]
    struct Data {
        #[serde(rename = "productVariants")]
        variants: Items<Variant>,
    }
    let data: Data = api
        .ask(VARIANTS, &changed(after, skip, take))
        .map_err(|error| error.context("reading products"))?;
    Ok(data.variants.items)
}

/// Customers changed after a moment.
pub(crate) fn people(api: &Api, after: &str, skip: u32, take: u32) -> Result<Vec<Person>> {
    #[derive(Deserialize)]
    struct Data {
        customers: Items<Person>,
    }
    let data: Data = api
        .ask(PEOPLE, &changed(after, skip, take))
        .map_err(|error| error.context("reading customers"))?;
    Ok(data.customers.items)
}

fn changed(after: &str, skip: u32, take: u32) -> serde_json::Value {
    json!({ "options": {
        "filter": { "updatedAt": { "after": after } },
        "sort": { "updatedAt": "ASC", "id": "ASC" },
        "skip": skip,
        "take": take,
    }})
}

impl Variant {
    pub(crate) fn record(&self) -> Result<Option<Record>> {
        if self.sku.is_empty() {
            stecker_sdk::warn!("a variant without a SKU is left out; give it one", id = self.id);
            return Ok(None);
        }
        let payload = ProductPayload {
            sku: self.sku.clone(),
            id: self.id.clone(),
            name: self.name.clone(),
            enabled: self.enabled,
            price: decimal(self.price),
            price_with_tax: decimal(self.price_with_tax),
            currency: self.currency_code.clone(),
            product_id: self.product.id.clone(),
            product_name: self.product.name.clone(),
            description: self.product.description.clone(),
            stock_on_hand: self.stock_levels.iter().map(|level| level.stock_on_hand).sum(),
            updated_at: self.updated_at.clone(),
        };
        let version = source_version::timestamp(&self.updated_at)?;
        let record = Record::upsert(PRODUCTS, &self.sku, version, &payload)?
            .at(time::millis_from_rfc3339(&self.updated_at)?);
        Ok(Some(record))
    }
}

impl Person {
    pub(crate) fn record(&self) -> Result<Option<Record>> {
        let addresses = self.addresses.iter().flatten().map(WireBooked::booked);
        let payload = CustomerPayload {
            id: self.id.clone(),
            email: self.email_address.clone(),
            name: full_name(&self.first_name, &self.last_name),
            first_name: self.first_name.clone(),
            last_name: self.last_name.clone(),
            title: entered(self.title.as_ref()),
            phone: entered(self.phone_number.as_ref()),
            addresses: addresses.collect(),
            updated_at: self.updated_at.clone(),
        };
        let version = source_version::timestamp(&self.updated_at)?;
        let record = Record::upsert(CUSTOMERS, &self.id, version, &payload)?
            .at(time::millis_from_rfc3339(&self.updated_at)?);
        Ok(Some(record))
    }
}

impl WireBooked {
    fn booked(&self) -> BookedAddress {
        BookedAddress {
            address: crate::orders::Address {
                name: entered(self.full_name.as_ref()),
                company: entered(self.company.as_ref()),
                street: entered(self.street_line1.as_ref()),
                street2: entered(self.street_line2.as_ref()),
                postal_code: entered(self.postal_code.as_ref()),
                city: entered(self.city.as_ref()),
                province: entered(self.province.as_ref()),
                country_code: Some(self.country.code.clone()),
                phone: entered(self.phone_number.as_ref()),
            },
            default_shipping: self.default_shipping_address.unwrap_or(false),
            default_billing: self.default_billing_address.unwrap_or(false),
        }
    }
}
