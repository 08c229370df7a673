//! Both systems in one place, because the account must see both ends at once.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rand::TryRngCore;
use rand::rngs::OsRng;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::account::{Account, WebhookAccount};
use crate::erp::state::ErpState;
use crate::fault_plan::FaultPlan;
use crate::shop::Order;
use crate::shop::state::ShopState;
use crate::shop::webhooks::Event;

/// Generated anew for every run; a seed says nothing about them.
#[derive(Clone)]
pub(crate) struct Secrets {
    pub(crate) shop_api_key: String,
    pub(crate) erp_user: String,
    pub(crate) erp_password: String,
    pub(crate) webhook_secret: String,
    pub(crate) control_token: String,
}

impl Secrets {
    pub(crate) fn generate() -> anyhow::Result<Self> {
        let secret = || -> anyhow::Result<String> {
            let mut bytes = [0; 24];
            OsRng.try_fill_bytes(&mut bytes)?;
            Ok(hex::encode(bytes))
        };
        Ok(Self {
            shop_api_key: secret()?,
            erp_user: "demo-api".to_owned(),
            erp_password: secret()?,
            webhook_secret: secret()?,
            control_token: secret()?,
        })
    }
}

/// What happens to the ERP behind everybody's back, by reference.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Damage {
    /// Sales that are deleted, their keys with them.
    pub lose: Vec<String>,
    /// Sales that get the currency `XTS`.
    pub distort: Vec<String>,
    /// Sales that are entered by hand.
    pub invent: Vec<String>,
}

pub(crate) struct World {
    shop: Mutex<ShopState>,
    erp: Mutex<ErpState>,
    webhooks: Mutex<Webhooks>,
    events: mpsc::UnboundedSender<Event>,
    pub(crate) faults: FaultPlan,
    pub(crate) secrets: Secrets,
    first_version_ended: AtomicBool,
}

#[derive(Default)]
struct Webhooks {
    target: Option<String>,
    emitted: u64,
    counts: WebhookAccount,
}

/// A panic elsewhere leaves whole calls behind, never half ones, so a poisoned lock is as good as any.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl World {
    pub(crate) fn new(
        shop: ShopState,
        erp: ErpState,
        faults: FaultPlan,
        secrets: Secrets,
        events: mpsc::UnboundedSender<Event>,
    ) -> Self {
        Self {
            shop: Mutex::new(shop),
            erp: Mutex::new(erp),
            webhooks: Mutex::default(),
            events,
            faults,
            secrets,
            first_version_ended: AtomicBool::new(false),
        }
    }

    /// Whether version 1 of the shop's API has ended.
    pub(crate) fn first_version_ended(&self) -> bool {
        self.first_version_ended.load(Ordering::Acquire)
    }

    /// Ends it.
    pub(crate) fn end_first_version(&self) {
        self.first_version_ended.store(true, Ordering::Release);
    }

    pub(crate) fn shop(&self) -> MutexGuard<'_, ShopState> {
        lock(&self.shop)
    }

    pub(crate) fn erp(&self) -> MutexGuard<'_, ErpState> {
        lock(&self.erp)
    }

    pub(crate) fn webhook_target(&self) -> Option<String> {
        lock(&self.webhooks).target.clone()
    }

    pub(crate) fn set_webhook_target(&self, target: Option<String>) {
        lock(&self.webhooks).target = target;
    }

    pub(crate) fn webhook_counts(&self) -> impl std::ops::DerefMut<Target = WebhookAccount> {
        Counts(lock(&self.webhooks))
    }

    /// Announces what happened to orders; nothing is announced while nobody listens.
    pub(crate) fn emit(&self, kind: &'static str, orders: &[Order]) {
        let mut webhooks = lock(&self.webhooks);
        if webhooks.target.is_none() {
            return;
        }
        for order in orders {
            webhooks.emitted += 1;
            let id = format!("evt_{:08}", webhooks.emitted);
            // The receiver ends only with the simulators, and then nobody counts any more.
            if self
                .events
                .send(Event {
                    id,
                    kind,
                    order: order.clone(),
                })
                .is_ok()
            {
                webhooks.counts.pending += 1;
            }
        }
    }

    pub(crate) fn create_orders(&self, count: usize) -> Vec<Order> {
        let orders = self.shop().create(count);
        self.emit("order.created", &orders);
        orders
    }

    pub(crate) fn update_orders(&self, ids: &[u64], repair: bool) -> Result<Vec<Order>, Vec<u64>> {
        let orders = self.shop().update(ids, repair)?;
        self.emit("order.updated", &orders);
        Ok(orders)
    }

    /// Returns how many sales it was done to.
    pub(crate) fn damage(&self, damage: &Damage) -> usize {
        let mut erp = self.erp();
        // ISO 4217 has this code for tests.
        erp.lose(&damage.lose) + erp.distort(&damage.distort, "XTS") + erp.invent(&damage.invent)
    }

    pub(crate) fn account(&self) -> Account {
        let (shop, erp) = (self.shop(), self.erp());
        let mut account = Account {
            shop: shop.account(|sku| erp.knows(sku)),
            erp: erp.account(),
            faults: self.faults.injected(),
        };
        account.shop.webhooks = lock(&self.webhooks).counts.clone();
        account
    }
}

struct Counts<'a>(MutexGuard<'a, Webhooks>);

impl std::ops::Deref for Counts<'_> {
    type Target = WebhookAccount;

    fn deref(&self) -> &Self::Target {
        &self.0.counts
    }
}

impl std::ops::DerefMut for Counts<'_> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0.counts
    }
}
