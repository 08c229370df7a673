//! Orders: what is asked, what becomes of it, and which state it is.
//!
//! **Amounts.** Of the prices that a line has, only `proratedLinePriceWithTax` takes part in the total: tax is rounded per line,
//! and discounts on the whole order are spread over its lines. What holds to the cent is: the sum of the lines'
//! `proratedLinePriceWithTax`, of the surcharges and of the shipping lines is `totalWithTax`. The payload says it in these terms,
//! and an order for which it does not hold carries the attribute `unbalanced`.
//!
//! **Version.** `updatedAt` may have whole seconds, and an order can change twice in one. So the number of entries in the order's
//! history follows: whatever happens to an order (a state, a payment, a coupon, a modification) adds one, and it is never
//! less later.

use crate::api::{Api, Items};
use crate::money::decimal;
use crate::window::Changing;
use serde_json::json;
use stecker_sdk::prelude::*;
use stecker_sdk::time;

pub(crate) const STREAM: &str = "orders";

/// The fields, for the list and for the single order.
macro_rules! fields {
    () => {
        "fragment Fields on Order {
  id code state orderPlacedAt updatedAt currencyCode totalWithTax couponCodes
  customer { id firstName lastName emailAddress phoneNumber }
  shippingAddress { fullName company streetLine1 streetLine2 postalCode city province countryCode phoneNumber }
  billingAddress { fullName company streetLine1 streetLine2 postalCode city province countryCode phoneNumber }
  lines { id quantity unitPriceWithTax proratedLinePriceWithTax taxRate productVariant { sku name } }
  surcharges { id description sku priceWithTax }
  shippingLines { id discountedPriceWithTax shippingMethod { code name } }
  history(options: { take: 1 }) { totalItems }
}"
    };
}

const LIST: &str = concat!(
    "query($options: OrderListOptions) {\n  orders(options: $options) { items { ...Fields } }\n}\n",
    fields!()
);
const ONE: &str = concat!(
    "query($id: ID!) {\n  order(id: $id) { ...Fields }\n}\n",
    fields!()
);

/// A placed order. All amounts are decimal texts in the order's currency, tax included; those of `lines`, `shipping` and
/// `surcharges` add up to `total`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct OrderPayload {
    /// The shop's number of the order, as the customer knows it.
    pub code: String,
    /// The shop's id of the order.
    pub id: String,
    /// For example `PaymentSettled`, `Shipped` or `Cancelled`.
    pub state: String,
    /// RFC 3339.
    pub placed_at: String,
    /// RFC 3339; may have whole seconds.
    pub updated_at: String,
    /// ISO 4217.
    pub currency: String,
    /// What the customer pays in all.
    pub total: String,
    /// The coupons that were used.
    pub coupon_codes: Vec<String>,
    /// Who ordered. None only if the shop no longer has the customer.
    pub customer: Option<Buyer>,
    /// Where the invoice goes, if that was entered.
    pub billing_address: Option<Address>,
    /// Where the goods go, if that was entered.
    pub shipping_address: Option<Address>,
    /// What was ordered; lines that were cancelled altogether are left out.
    pub lines: Vec<OrderLine>,
    /// How it is sent.
    pub shipping: Vec<Shipping>,
    /// What is charged, or taken off if negative, beside goods and shipping.
    pub surcharges: Vec<Surcharge>,
}

/// Who ordered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Buyer {
    /// The shop's id of the customer; the same for a guest who comes back with the same e-mail address.
    pub id: String,
    /// E-mail address.
    pub email: String,
    /// First and last name.
    pub name: String,
    /// As entered.
    pub phone: Option<String>,
}

/// A postal address; what was not entered is null.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Address {
    /// Full name of the person.
    pub name: Option<String>,
    /// Company.
    pub company: Option<String>,
    /// First line of the street.
    pub street: Option<String>,
    /// Second line of the street.
    pub street2: Option<String>,
    /// Postal code.
    pub postal_code: Option<String>,
    /// City.
    pub city: Option<String>,
    /// Province or state.
    pub province: Option<String>,
    /// ISO 3166-1 alpha-2.
    pub country_code: Option<String>,
    /// Phone number.
    pub phone: Option<String>,
}

/// One position of an order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct OrderLine {
    /// SKU of the variant.
    pub sku: String,
    /// Name of the variant.
    pub name: String,
    /// Pieces.
    pub quantity: i64,
    /// What one piece cost before discounts on the order, tax included. Times the quantity it is *not* the line's total.
    pub unit_price: String,
    /// What the line costs, with all discounts and tax.
    pub total: String,
    /// Per cent.
    pub tax_rate: f64,
}

/// A way of sending.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Shipping {
    /// The shop's code of the shipping method.
    pub code: String,
    /// Its name.
    pub name: String,
    /// What it costs, with all discounts and tax.
    pub total: String,
}

/// What is charged beside goods and shipping.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Surcharge {
    /// The shop's code of it; may be empty.
    pub sku: String,
    /// What it is for.
    pub description: String,
    /// Tax included; negative if it is taken off.
    pub total: String,
}

/// An order as the admin API gives it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Order {
    id: String,
    code: String,
    state: String,
    order_placed_at: Option<String>,
    updated_at: String,
    currency_code: String,
    total_with_tax: i64,
    #[serde(default)]
    coupon_codes: Vec<String>,
    customer: Option<WireCustomer>,
    shipping_address: Option<WireAddress>,
    billing_address: Option<WireAddress>,
    lines: Vec<WireLine>,
    surcharges: Vec<WireSurcharge>,
    shipping_lines: Vec<WireShipping>,
    history: Count,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Count {
    total_items: u64,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireCustomer {
    id: String,
    first_name: String,
    last_name: String,
    email_address: String,
    phone_number: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireAddress {
    full_name: Option<String>,
    company: Option<String>,
    street_line1: Option<String>,
    street_line2: Option<String>,
    postal_code: Option<String>,
    city: Option<String>,
    province: Option<String>,
    country_code: Option<String>,
    phone_number: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireLine {
    id: String,
    quantity: i64,
    unit_price_with_tax: i64,
    prorated_line_price_with_tax: i64,
    tax_rate: f64,
    product_variant: WireVariant,
}

#[derive(Debug, Deserialize)]
struct WireVariant {
    sku: String,
    name: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireSurcharge {
    id: String,
    description: String,
    sku: Option<String>,
    price_with_tax: i64,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireShipping {
    id: String,
    discounted_price_with_tax: i64,
    shipping_method: WireMethod,
}

#[derive(Debug, Deserialize)]
struct WireMethod {
    code: String,
    name: String,
}

impl Changing for Order {
    fn id(&self) -> &str {
        &self.id
    }

    fn updated_at(&self) -> &str {
        &self.updated_at
    }
}

/// The shop gives the parts of an order in any order, another one each time.
fn by_id<T>(parts: &[T], id: impl Fn(&T) -> &String) -> Vec<&T> {
    let mut sorted: Vec<&T> = parts.iter().collect();
    // Ids are numbers, or texts of one length, as the shop is configured.
    sorted.sort_by_key(|part| (id(part).len(), id(part).clone()));
    sorted
}

/// Orders that are no baskets, changed after a moment.
pub(crate) fn list(api: &Api, after: &str, skip: u32, take: u32) -> Result<Vec<Order>> {
    #[derive(Deserialize)]
    struct Data {
        orders: Items<Order>,
    }
    let options = json!({
        "filter": { "active": { "eq": false }, "updatedAt": { "after": after } },
        "sort": { "updatedAt": "ASC", "id": "ASC" },
        "skip": skip,
        "take": take,
    });
    let data: Data = api
        .ask(LIST, &json!({ "options": options }))
        .map_err(|error| error.context("reading orders"))?;
    Ok(data.orders.items)
}

/// The order of that id, if there is one.
pub(crate) fn one(api: &Api, id: &str) -> Result<Option<Order>> {
    #[derive(Deserialize)]
    struct Data {
        order: Option<Order>,
    }
    let data: Data = api
        .ask(ONE, &json!({ "id": id }))
        .map_err(|error| error.context(format!("reading order {id}")))?;
    Ok(data.order)
}

impl Order {
    pub(crate) fn code(&self) -> &str {
        &self.code
    }

    /// The record of this order; none if it was not placed or its state is not wanted.
    pub(crate) fn record(&self, states: &[String]) -> Result<Option<Record>> {
        // Drafts that an administrator is still working on are no baskets either.
        let Some(placed_at) = &self.order_placed_at else {
            return Ok(None);
        };
        if !states.is_empty() && !states.contains(&self.state) {
            return Ok(None);
        }
        let version = source_version::timestamp_and_counter(&self.updated_at, self.history.total_items)?;
        let record = Record::upsert(STREAM, &self.code, version, &self.payload(placed_at))?
            .at(time::millis_from_rfc3339(&self.updated_at)?);
        let (parts, total) = (self.sum_of_parts(), self.total_with_tax);
        if parts == total {
            return Ok(Some(record));
        }
        stecker_sdk::warn!(
            "the parts of an order do not add up to its total",
            order = self.code,
            parts = decimal(parts),
            total = decimal(total)
        );
        Ok(Some(
            record.attribute("unbalanced", decimal(total.saturating_sub(parts))),
        ))
    }

    fn sum_of_parts(&self) -> i64 {
        let lines = self.lines.iter().map(|line| line.prorated_line_price_with_tax);
        let surcharges = self.surcharges.iter().map(|surcharge| surcharge.price_with_tax);
        let shipping = self
            .shipping_lines
            .iter()
            .map(|shipping| shipping.discounted_price_with_tax);
        lines
            .chain(surcharges)
            .chain(shipping)
            .fold(0_i64, i64::saturating_add)
    }

    fn payload(&self, placed_at: &str) -> OrderPayload {
        OrderPayload {
            code: self.code.clone(),
            id: self.id.clone(),
            state: self.state.clone(),
            placed_at: placed_at.to_owned(),
            updated_at: self.updated_at.clone(),
            currency: self.currency_code.clone(),
            total: decimal(self.total_with_tax),
            coupon_codes: self.coupon_codes.clone(),
            customer: self.customer.as_ref().map(WireCustomer::buyer),
            billing_address: self.billing_address.as_ref().and_then(WireAddress::address),
            shipping_address: self.shipping_address.as_ref().and_then(WireAddress::address),
            lines: by_id(&self.lines, |line| &line.id)
                .into_iter()
                .filter_map(WireLine::line)
                .collect(),
            shipping: by_id(&self.shipping_lines, |line| &line.id)
                .into_iter()
                .map(|line| Shipping {
                    code: line.shipping_method.code.clone(),
                    name: line.shipping_method.name.clone(),
                    total: decimal(line.discounted_price_with_tax),
                })
                .collect(),
            surcharges: by_id(&self.surcharges, |surcharge| &surcharge.id)
                .into_iter()
                .map(|surcharge| Surcharge {
                    sku: surcharge.sku.clone().unwrap_or_default(),
                    description: surcharge.description.clone(),
                    total: decimal(surcharge.price_with_tax),
                })
                .collect(),
        }
    }
}

impl WireCustomer {
    fn buyer(&self) -> Buyer {
        Buyer {
            id: self.id.clone(),
            email: self.email_address.clone(),
            name: full_name(&self.first_name, &self.last_name),
            phone: entered(self.phone_number.as_ref()),
        }
    }
}

impl WireAddress {
    /// None if nothing was entered: the API gives an object of nulls then.
    fn address(&self) -> Option<Address> {
        let address = Address {
            name: entered(self.full_name.as_ref()),
            company: entered(self.company.as_ref()),
            street: entered(self.street_line1.as_ref()),
            street2: entered(self.street_line2.as_ref()),
            postal_code: entered(self.postal_code.as_ref()),
            city: entered(self.city.as_ref()),
            province: entered(self.province.as_ref()),
            country_code: entered(self.country_code.as_ref()),
            phone: entered(self.phone_number.as_ref()),
        };
        let any = [
            &address.name,
            &address.company,
            &address.street,
            &address.postal_code,
            &address.city,
        ];
        any.iter().any(|field| field.is_some()).then_some(address)
    }
}

impl WireLine {
    fn line(&self) -> Option<OrderLine> {
        if self.quantity == 0 && self.prorated_line_price_with_tax == 0 {
            return None;
        }
        Some(OrderLine {
            sku: self.product_variant.sku.clone(),
            name: self.product_variant.name.clone(),
            quantity: self.quantity,
            unit_price: decimal(self.unit_price_with_tax),
            total: decimal(self.prorated_line_price_with_tax),
            tax_rate: self.tax_rate,
        })
    }
}

pub(crate) fn full_name(first: &str, last: &str) -> String {
    format!("{} {}", first.trim(), last.trim()).trim().to_owned()
}

/// What was entered, if it is not blank.
pub(crate) fn entered(text: Option<&String>) -> Option<String> {
    let text = text?.trim();
    (!text.is_empty()).then(|| text.to_owned())
}
