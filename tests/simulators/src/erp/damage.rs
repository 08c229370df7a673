//! What happens to the ERP behind everybody's back, and how it is put right. The account follows: it says what the ERP holds, and nobody
//! else's word for it.

use super::state::{ErpState, Item, ItemResult, ItemStatus};
use crate::account::Booking;
use crate::shop::state::now;

impl ErpState {
    /// Somebody deletes the sales of these references; their keys are forgotten with them. Returns how many sales there were.
    pub(crate) fn lose(&mut self, references: &[String]) -> usize {
        let mut lost = 0;
        for reference in references {
            let places = self.by_reference.remove(reference).unwrap_or_default();
            self.by_key.retain(|_, (place, _)| !places.contains(place));
            self.bookings.remove(reference);
            for place in places {
                let lines = self.sales[place].lines.clone();
                self.move_stock(&lines, &[]);
                lost += 1;
            }
        }
        lost
    }

    /// Somebody enters another currency in the sales of these references; their keys stay as they are. Returns how many sales there were.
    pub(crate) fn distort(&mut self, references: &[String], currency: &str) -> usize {
        let mut distorted = 0;
        for reference in references {
            for &place in self.by_reference.get(reference).into_iter().flatten() {
                currency.clone_into(&mut self.sales[place].currency);
                self.sales[place].booked_at = now();
                distorted += 1;
            }
            if let Some(last) = self.bookings.get_mut(reference).and_then(|all| all.last_mut()) {
                currency.clone_into(&mut last.currency);
            }
        }
        distorted
    }

    /// Somebody enters sales by hand, like the first one there is. Returns how many; none if there is nothing to go by.
    pub(crate) fn invent(&mut self, references: &[String]) -> usize {
        let Some(model) = self.sales.first().cloned() else {
            return 0;
        };
        for reference in references {
            let place = self.sales.len();
            let mut sale = model.clone();
            sale.id = format!("SALE-{:06}", place + 1);
            sale.reference.clone_from(reference);
            sale.idempotency_keys = Vec::new();
            sale.booked_at = now();
            self.move_stock(&[], &sale.lines);
            let booking = Booking {
                sale: sale.id.clone(),
                idempotency_key: String::new(),
                version: sale.version,
                total: sale.total,
                currency: sale.currency.clone(),
                received: self.received.len() as u64,
                at: sale.booked_at,
            };
            self.bookings.entry(reference.clone()).or_default().push(booking);
            self.by_reference
                .entry(reference.clone())
                .or_default()
                .push(place);
            self.sales.push(sale);
        }
        references.len()
    }

    /// The sale of the item's reference is as the item says from now on.
    pub(crate) fn correct(&mut self, item: &Item) -> ItemResult {
        let known = self.by_reference.get(&item.reference);
        let Some(&place) = known.and_then(|places| places.first()) else {
            return self.book(item);
        };
        let outcome = self.check(item).map(|()| self.put_right(place, item));
        let status = outcome.as_ref().map_or(ItemStatus::Rejected, |status| *status);
        self.receive(&item.reference, item.version, &item.idempotency_key, status);
        if let Err(error) = &outcome {
            self.reject(&item.reference, item.version, error);
        }
        ItemResult {
            reference: Some(item.reference.clone()),
            status,
            id: outcome.is_ok().then(|| self.sales[place].id.clone()),
            error: outcome.err(),
        }
    }

    fn put_right(&mut self, place: usize, item: &Item) -> ItemStatus {
        let sale = &mut self.sales[place];
        let is_right = sale.customer == item.customer
            && sale.currency == item.currency
            && sale.total == item.total
            && sale.lines == item.lines;
        if is_right {
            return ItemStatus::Exists;
        }
        sale.customer.clone_from(&item.customer);
        sale.currency.clone_from(&item.currency);
        sale.total = item.total;
        sale.booked_at = now();
        let before = std::mem::replace(&mut sale.lines, item.lines.clone());
        let id = sale.id.clone();
        self.move_stock(&before, &item.lines);
        let mut bookings = self.bookings.get_mut(&item.reference).into_iter().flatten();
        if let Some(booking) = bookings.rfind(|booking| booking.sale == id) {
            booking.total = item.total;
            booking.currency.clone_from(&item.currency);
        }
        ItemStatus::Created
    }
}
