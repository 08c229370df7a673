//! The things that are read: as Stripe gives them, and as records.

use crate::api::Reference;
use crate::money::decimal;
use crate::version::Rank;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::BTreeMap;
use stecker_sdk::prelude::*;
use stecker_sdk::time;

/// Metadata, as Stripe keeps it: texts under names.
type Metadata = BTreeMap<String, String>;

/// A kind of thing that has a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    PaymentIntent,
    Charge,
    Refund,
    Customer,
}

/// A payment, from the intent to pay to the money. Amounts are decimal texts in the currency.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PaymentIntentPayload {
    /// `pi_…`
    pub id: String,
    /// Stripe's word, such as `succeeded` or `requires_payment_method`.
    pub status: String,
    /// ISO 4217, in upper case.
    pub currency: String,
    /// What is to be paid.
    pub amount: String,
    /// What has been paid; absent where the API does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub amount_received: Option<String>,
    /// `cus_…`
    pub customer: Option<String>,
    /// `ch_…`
    pub latest_charge: Option<String>,
    /// The merchant's text.
    pub description: Option<String>,
    /// RFC 3339.
    pub created: String,
    /// Whether real money moves.
    pub livemode: bool,
    /// The merchant's own.
    pub metadata: Metadata,
}

/// One movement of money from a customer. Amounts are decimal texts in the currency.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ChargePayload {
    /// `ch_…` or `py_…`
    pub id: String,
    /// `pending`, `succeeded` or `failed`.
    pub status: String,
    /// ISO 4217, in upper case.
    pub currency: String,
    /// What was charged.
    pub amount: String,
    /// What was captured of it; absent where the API does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub amount_captured: Option<String>,
    /// What was given back of it.
    pub amount_refunded: String,
    /// Whether the money is taken and not only held.
    pub captured: bool,
    /// Whether all of it was given back.
    pub refunded: bool,
    /// `pi_…`
    pub payment_intent: Option<String>,
    /// `cus_…`
    pub customer: Option<String>,
    /// Why it failed, such as `card_declined`.
    pub failure_code: Option<String>,
    /// Why it failed, for people.
    pub failure_message: Option<String>,
    /// RFC 3339.
    pub created: String,
    /// Whether real money moves.
    pub livemode: bool,
    /// The merchant's own.
    pub metadata: Metadata,
}

/// Money given back. The amount is a decimal text in the currency.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RefundPayload {
    /// `re_…`
    pub id: String,
    /// `pending`, `requires_action`, `succeeded`, `failed` or `canceled`; absent for some old ones.
    pub status: Option<String>,
    /// ISO 4217, in upper case.
    pub currency: String,
    /// What is given back.
    pub amount: String,
    /// `ch_…`
    pub charge: Option<String>,
    /// `pi_…`
    pub payment_intent: Option<String>,
    /// `duplicate`, `fraudulent` or `requested_by_customer`.
    pub reason: Option<String>,
    /// Why it failed.
    pub failure_reason: Option<String>,
    /// RFC 3339.
    pub created: String,
    /// The merchant's own.
    pub metadata: Metadata,
}

/// Somebody who pays.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CustomerPayload {
    /// `cus_…`
    pub id: String,
    /// Full name or business name.
    pub name: Option<String>,
    /// E-mail address.
    pub email: Option<String>,
    /// Phone number.
    pub phone: Option<String>,
    /// The merchant's text.
    pub description: Option<String>,
    /// Where they live.
    pub address: Option<AddressPayload>,
    /// RFC 3339.
    pub created: String,
    /// Whether real money moves.
    pub livemode: bool,
    /// The merchant's own.
    pub metadata: Metadata,
}

/// An address.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AddressPayload {
    /// First line.
    pub line1: Option<String>,
    /// Second line.
    pub line2: Option<String>,
    /// Postal code.
    pub postal_code: Option<String>,
    /// City.
    pub city: Option<String>,
    /// State or province.
    pub state: Option<String>,
    /// ISO 3166-1 alpha-2.
    pub country: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct PaymentIntent {
    pub(crate) id: String,
    status: String,
    pub(crate) currency: String,
    amount: i64,
    amount_received: Option<i64>,
    customer: Option<Reference>,
    latest_charge: Option<Reference>,
    description: Option<String>,
    created: u64,
    #[serde(default)]
    livemode: bool,
    pub(crate) metadata: Option<Metadata>,
}

#[derive(Debug, Deserialize)]
struct Charge {
    id: String,
    status: String,
    currency: String,
    amount: i64,
    amount_captured: Option<i64>,
    amount_refunded: i64,
    captured: bool,
    refunded: bool,
    payment_intent: Option<Reference>,
    customer: Option<Reference>,
    failure_code: Option<String>,
    failure_message: Option<String>,
    created: u64,
    #[serde(default)]
    livemode: bool,
    metadata: Option<Metadata>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Refund {
    pub(crate) id: String,
    pub(crate) status: Option<String>,
    currency: String,
    amount: i64,
    charge: Option<Reference>,
    payment_intent: Option<Reference>,
    reason: Option<String>,
    pub(crate) failure_reason: Option<String>,
    created: u64,
    pub(crate) metadata: Option<Metadata>,
}

#[derive(Debug, Deserialize)]
struct Customer {
    id: String,
    name: Option<String>,
    email: Option<String>,
    phone: Option<String>,
    description: Option<String>,
    address: Option<AddressPayload>,
    created: u64,
    #[serde(default)]
    livemode: bool,
    metadata: Option<Metadata>,
}

/// A thing as a record is made of it.
pub(crate) struct Thing {
    pub(crate) id: String,
    pub(crate) rank: Rank,
    pub(crate) created: u64,
    pub(crate) payload: Value,
}

impl Kind {
    const ALL: [Self; 4] = [Self::PaymentIntent, Self::Charge, Self::Refund, Self::Customer];

    /// The stream, which is the last part of the list's address too.
    pub(crate) const fn stream(self) -> &'static str {
        match self {
            Self::PaymentIntent => "payment_intents",
            Self::Charge => "charges",
            Self::Refund => "refunds",
            Self::Customer => "customers",
        }
    }

    /// What a thing of this kind says under `object`.
    const fn object(self) -> &'static str {
        match self {
            Self::PaymentIntent => "payment_intent",
            Self::Charge => "charge",
            Self::Refund => "refund",
            Self::Customer => "customer",
        }
    }

    pub(crate) fn of_stream(stream: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.stream() == stream)
    }

    pub(crate) fn of_object(object: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.object() == object)
    }

    /// # Errors
    /// Code `schema`, with the thing's id: it is not as this release expects.
    pub(crate) fn thing(self, value: &Value) -> Result<Thing> {
        match self {
            Self::PaymentIntent => read::<PaymentIntent>(value)?.thing(),
            Self::Charge => read::<Charge>(value)?.thing(),
            Self::Refund => read::<Refund>(value)?.thing(),
            Self::Customer => read::<Customer>(value)?.thing(),
        }
    }
}

fn read<T: DeserializeOwned>(value: &Value) -> Result<T> {
    T::deserialize(value).map_err(|error| {
        let (object, id) = (&value["object"], &value["id"]);
        Error::schema(format!("Stripe's {object} {id} does not fit: {error}"))
    })
}

fn unsigned(amount: i64) -> u64 {
    u64::try_from(amount).unwrap_or(0)
}

/// Seconds since 1970 as RFC 3339.
pub(crate) fn moment(seconds: u64) -> String {
    let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
    time::Moment { seconds, nanos: 0 }.to_rfc3339(0)
}

impl PaymentIntent {
    fn thing(self) -> Result<Thing> {
        // An authorisation that fails leads back to the first; it is told apart by its second or not at all.
        let state = match self.status.as_str() {
            "requires_payment_method" => 1,
            "requires_confirmation" => 2,
            "requires_action" => 3,
            "processing" => 4,
            "requires_capture" => 5,
            "canceled" => 8,
            "succeeded" => 9,
            _ => 6,
        };
        let rank = Rank {
            state,
            amount: unsigned(self.amount_received.unwrap_or_default()),
        };
        let currency = &self.currency;
        let payload = PaymentIntentPayload {
            id: self.id.clone(),
            status: self.status,
            amount: decimal(self.amount, currency),
            amount_received: self.amount_received.map(|amount| decimal(amount, currency)),
            currency: currency.to_ascii_uppercase(),
            customer: self.customer.as_ref().map(Reference::id),
            latest_charge: self.latest_charge.as_ref().map(Reference::id),
            description: self.description,
            created: moment(self.created),
            livemode: self.livemode,
            metadata: self.metadata.unwrap_or_default(),
        };
        Thing::new(self.id, rank, self.created, &payload)
    }
}

impl Charge {
    fn thing(self) -> Result<Thing> {
        let state = match (self.status.as_str(), self.captured, self.refunded) {
            ("pending", ..) => 1,
            ("failed", ..) => 8,
            (_, _, true) => 9,
            (_, true, _) => 5,
            _ => 3,
        };
        let rank = Rank {
            state,
            amount: unsigned(self.amount_refunded),
        };
        let currency = &self.currency;
        let payload = ChargePayload {
            id: self.id.clone(),
            status: self.status,
            amount: decimal(self.amount, currency),
            amount_captured: self.amount_captured.map(|amount| decimal(amount, currency)),
            amount_refunded: decimal(self.amount_refunded, currency),
            currency: currency.to_ascii_uppercase(),
            captured: self.captured,
            refunded: self.refunded,
            payment_intent: self.payment_intent.as_ref().map(Reference::id),
            customer: self.customer.as_ref().map(Reference::id),
            failure_code: self.failure_code,
            failure_message: self.failure_message,
            created: moment(self.created),
            livemode: self.livemode,
            metadata: self.metadata.unwrap_or_default(),
        };
        Thing::new(self.id, rank, self.created, &payload)
    }
}

impl Refund {
    fn thing(self) -> Result<Thing> {
        let state = match self.status.as_deref() {
            Some("pending") => 1,
            Some("requires_action") => 2,
            Some("succeeded") | None => 5,
            // A refund that succeeded can fail afterwards, when a bank sends the money back.
            Some("failed" | "canceled") => 9,
            Some(_) => 4,
        };
        let rank = Rank { state, amount: 0 };
        let payload = RefundPayload {
            id: self.id.clone(),
            status: self.status,
            amount: decimal(self.amount, &self.currency),
            currency: self.currency.to_ascii_uppercase(),
            charge: self.charge.as_ref().map(Reference::id),
            payment_intent: self.payment_intent.as_ref().map(Reference::id),
            reason: self.reason,
            failure_reason: self.failure_reason,
            created: moment(self.created),
            metadata: self.metadata.unwrap_or_default(),
        };
        Thing::new(self.id, rank, self.created, &payload)
    }
}

impl Customer {
    fn thing(self) -> Result<Thing> {
        let payload = CustomerPayload {
            id: self.id.clone(),
            name: self.name,
            email: self.email,
            phone: self.phone,
            description: self.description,
            address: self.address,
            created: moment(self.created),
            livemode: self.livemode,
            metadata: self.metadata.unwrap_or_default(),
        };
        let rank = Rank { state: 1, amount: 0 };
        Thing::new(self.id, rank, self.created, &payload)
    }
}

impl Thing {
    fn new(id: String, rank: Rank, created: u64, payload: &impl Serialize) -> Result<Self> {
        Ok(Self {
            id,
            rank,
            created,
            payload: serde_json::to_value(payload)?,
        })
    }
}
