//! What can be tried before a flow runs.

use crate::Tryton;
use crate::masters::Id;
use serde_json::json;
use stecker_sdk::prelude::*;

#[derive(Deserialize)]
struct Preferences {
    #[serde(default)]
    companies: Vec<i64>,
    #[serde(rename = "company.rec_name")]
    company_name: Option<String>,
}

impl Tryton {
    pub(crate) fn probes(&self) -> Vec<Probe> {
        let mut probes = vec![self.user_probe()];
        // Each further try would only repeat what the first one says, and count as one more wrong password.
        if !probes.iter().all(|probe| probe.ok) {
            return probes;
        }
        for (name, model, success) in [
            ("sales", "sale.sale", "sales can be read"),
            ("parties", "party.party", "parties can be read"),
            ("products", "product.product", "products can be read"),
            ("moves", "stock.move", "moves of stock can be read"),
        ] {
            let rows: Result<Vec<Id>> = self.first(model, json!([]), 1);
            probes.push(Probe::from_result(name, success, &rows));
        }
        probes.push(Probe::from_result(
            "stock-locations",
            "the locations whose stock is read are there",
            &self.stock_locations(),
        ));
        if self.config.payment_term.is_some() {
            probes.push(Probe::from_result(
                "payment-term",
                "the payment term is there",
                &self.payment_term(),
            ));
        }
        if self.config.warehouse.is_some() {
            probes.push(Probe::from_result(
                "warehouse",
                "the warehouse is there",
                &self.warehouse(),
            ));
        }
        if self.config.create_missing_products {
            let both = self.unit().and_then(|unit| Ok((unit, self.category()?)));
            probes.push(Probe::from_result(
                "new-products",
                "unit and category of new products are there",
                &both,
            ));
        }
        probes
    }

    fn user_probe(&self) -> Probe {
        let answer = self
            .rpc
            .call::<Preferences>("model.res.user.get_preferences", vec![json!(true)]);
        let answer: Result<Option<Preferences>> = answer.map_err(Into::into);
        let preferences = match &answer {
            Ok(Some(preferences)) => preferences,
            Ok(None) => return Probe::failed("user", "Tryton says nothing of this user", "use another user"),
            Err(_) => return Probe::from_result("user", "", &answer),
        };
        let company = self.config.company;
        if preferences.companies.contains(&company) {
            let name = preferences.company_name.as_deref().unwrap_or("its company");
            return Probe::passed("user", format!("the user can log in, and works for {name}"));
        }
        Probe::failed(
            "user",
            format!("the user can log in, and does not work for company {company}"),
            format!(
                "add the company to the user in Tryton, or set `company` to one of {:?}",
                preferences.companies
            ),
        )
    }
}
