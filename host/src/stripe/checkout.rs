//! What a checkout costs: the catalogue's prices, the tax and shipping that are declared beside them, and nothing else.
//!
//! The customer pays the quoted total. No line is added for the way of paying, and Stripe is told not to convert the price, for which it
//! would charge the customer.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use taskwarden_money::Currency;

/// Different products in one basket.
pub const ITEMS_MAX: usize = 50;
/// Pieces of one product.
pub const QUANTITY_MAX: u32 = 1000;
/// The largest total that Stripe takes, in minor units: eight digits.
pub const TOTAL_MAX: i64 = 99_999_999;
/// Characters of an order's id; Stripe keeps it as the session's `client_reference_id`.
pub const ORDER_ID_CHARS_MAX: usize = 200;

/// What is for sale.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Catalogue {
    /// By the name that a basket uses.
    pub products: BTreeMap<String, Product>,
    /// Ways of shipping, by the name that a basket uses.
    pub shipping: BTreeMap<String, Shipping>,
}

/// A product.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Product {
    /// What the customer reads.
    pub title: String,
    /// Three letters.
    pub currency: String,
    /// For one piece, in minor units, without the tax below.
    pub unit_amount: i64,
    /// Tax on one piece, in minor units; 0 where the price includes it.
    #[serde(default)]
    pub unit_tax_amount: i64,
}

/// A way of shipping.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shipping {
    /// What the customer reads.
    pub title: String,
    /// Three letters.
    pub currency: String,
    /// In minor units, tax included.
    pub amount: i64,
}

/// What somebody wants to buy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Basket {
    /// Products and how many of each.
    pub items: Vec<Item>,
    /// A way of shipping, where something is shipped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shipping: Option<String>,
}

/// So many of a product.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Item {
    /// Its name in the catalogue.
    pub product: String,
    /// How many.
    pub quantity: u32,
}

/// Why a basket cannot be sold: the field, and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {why}")]
pub struct Unsellable {
    /// As a path into the basket.
    pub field: String,
    /// What is wrong.
    pub why: String,
}

/// A basket with its price.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quote {
    /// Of everything in it.
    pub currency: Currency,
    /// Goods without tax.
    pub goods: i64,
    /// Tax that is declared beside the prices.
    pub tax: i64,
    /// Shipping.
    pub shipping: i64,
    /// What the customer pays: the three together.
    pub total: i64,
    lines: Vec<Line>,
    shipping_title: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Line {
    title: String,
    unit_amount: i64,
    quantity: u32,
}

impl Catalogue {
    /// Whether every price can be charged.
    ///
    /// # Errors
    /// Which one cannot, and why.
    pub fn check(&self) -> Result<(), String> {
        let fine = |what: String, title: &str, currency: &str, amounts: &[i64], least: i64| {
            let currency: Currency = currency.parse().map_err(|error| format!("{what}: {error}"))?;
            if currency.decimals().is_none() {
                return Err(format!("{what}: how many decimals {currency} has is not known, so no price in it can be charged"));
            }
            if title.trim().is_empty() {
                return Err(format!("{what}: the title is empty, and customers read it"));
            }
            match amounts.iter().find(|amount| **amount < least || **amount > TOTAL_MAX || **amount % currency.charge_step() != 0) {
                None => Ok(()),
                Some(amount) => Err(format!(
                    "{what}: {amount} must be from {least} to {TOTAL_MAX} minor units of {currency}, in steps of {}",
                    currency.charge_step()
                )),
            }
        };
        for (name, product) in &self.products {
            fine(format!("product {name}"), &product.title, &product.currency, &[product.unit_amount], 1)?;
            fine(format!("product {name}"), &product.title, &product.currency, &[product.unit_tax_amount], 0)?;
        }
        for (name, shipping) in &self.shipping {
            fine(format!("shipping {name}"), &shipping.title, &shipping.currency, &[shipping.amount], 0)?;
        }
        Ok(())
    }

    /// What a basket costs.
    ///
    /// # Errors
    /// Which field of it cannot be sold.
    pub fn quote(&self, basket: &Basket) -> Result<Quote, Unsellable> {
        let refuse = |field: String, why: String| Err(Unsellable { field, why });
        if basket.items.is_empty() || basket.items.len() > ITEMS_MAX {
            return refuse("items".to_owned(), format!("a basket has 1 to {ITEMS_MAX} items"));
        }
        let mut quote: Option<Quote> = None;
        let mut seen = std::collections::BTreeSet::new();
        for (index, item) in basket.items.iter().enumerate() {
            let field = |name: &str| format!("items[{index}].{name}");
            let Some(product) = self.products.get(&item.product) else {
                return refuse(field("product"), "there is no such product in the catalogue".to_owned());
            };
            if !seen.insert(&item.product) {
                return refuse(field("product"), "this product is in the basket twice; add up the quantities".to_owned());
            }
            if item.quantity == 0 || item.quantity > QUANTITY_MAX {
                return refuse(field("quantity"), format!("this must be from 1 to {QUANTITY_MAX}"));
            }
            let Ok(currency) = product.currency.parse::<Currency>() else {
                return refuse(field("product"), "its price has no currency; the catalogue is wrong".to_owned());
            };
            let quote = quote.get_or_insert_with(|| Quote::empty(currency));
            if quote.currency != currency {
                return refuse(field("product"), format!("it is sold in {currency} and the basket is in {}", quote.currency));
            }
            quote.add(product, item.quantity);
        }
        let Some(mut quote) = quote else { return refuse("items".to_owned(), "the basket is empty".to_owned()) };
        if let Some(name) = &basket.shipping {
            match self.shipping.get(name) {
                Some(way) if way.currency.parse() == Ok(quote.currency) => {
                    quote.shipping = way.amount;
                    quote.total += way.amount;
                    quote.shipping_title = Some(way.title.clone());
                }
                Some(way) => {
                    return refuse(
                        "shipping".to_owned(),
                        format!("it is charged in {} and the basket is in {}", way.currency, quote.currency),
                    );
                }
                None => return refuse("shipping".to_owned(), "there is no such way of shipping in the catalogue".to_owned()),
            }
        }
        if quote.total > TOTAL_MAX {
            return refuse("items".to_owned(), format!("the total of {} is more than Stripe takes: {TOTAL_MAX} minor units", quote.total));
        }
        Ok(quote)
    }
}

impl Quote {
    fn empty(currency: Currency) -> Self {
        Self { currency, goods: 0, tax: 0, shipping: 0, total: 0, lines: Vec::new(), shipping_title: None }
    }

    /// Amounts and quantities are bounded, so that none of these sums comes near the end of 64 bits.
    fn add(&mut self, product: &Product, quantity: u32) {
        let (goods, tax) = (product.unit_amount * i64::from(quantity), product.unit_tax_amount * i64::from(quantity));
        self.goods += goods;
        self.tax += tax;
        self.total += goods + tax;
        self.lines.push(Line { title: product.title.clone(), unit_amount: product.unit_amount, quantity });
        if product.unit_tax_amount > 0 {
            self.lines.push(Line { title: format!("Tax: {}", product.title), unit_amount: product.unit_tax_amount, quantity });
        }
    }

    /// The fields of a request for a hosted checkout of exactly this.
    #[must_use]
    pub fn session_fields(&self, order_id: &str, order_key: &str, success_url: &str, cancel_url: &str) -> Vec<(String, String)> {
        let mut fields: Vec<(String, String)> = [
            ("mode", "payment"),
            ("adaptive_pricing[enabled]", "false"),
            ("client_reference_id", order_id),
            ("success_url", success_url),
            ("cancel_url", cancel_url),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
        // On both, since charges and refunds inherit the payment's metadata and not the session's.
        fields.push((format!("metadata[{order_key}]"), order_id.to_owned()));
        fields.push((format!("payment_intent_data[metadata][{order_key}]"), order_id.to_owned()));
        for (index, line) in self.lines.iter().enumerate() {
            let mut put = |name: &str, value: String| fields.push((format!("line_items[{index}]{name}"), value));
            put("[quantity]", line.quantity.to_string());
            put("[price_data][currency]", self.currency.to_string());
            put("[price_data][unit_amount]", line.unit_amount.to_string());
            put("[price_data][product_data][name]", line.title.clone());
        }
        if let Some(title) = &self.shipping_title {
            let mut put = |name: &str, value: String| fields.push((format!("shipping_options[0][shipping_rate_data]{name}"), value));
            put("[type]", "fixed_amount".to_owned());
            put("[display_name]", title.clone());
            put("[fixed_amount][amount]", self.shipping.to_string());
            put("[fixed_amount][currency]", self.currency.to_string());
        }
        fields
    }

    /// Whether a session charges this and nothing beyond it.
    ///
    /// # Errors
    /// What differs. The session must not be given to the customer then.
    pub fn check(&self, session: &Session) -> Result<(), String> {
        if session.amount_total != Some(self.total) {
            return Err(format!("its total is {:?} and the catalogue says {}", session.amount_total, self.total));
        }
        if session.currency.as_deref().and_then(|code| code.parse().ok()) != Some(self.currency) {
            return Err(format!("its currency is {:?} and the catalogue says {}", session.currency, self.currency));
        }
        if session.adaptive_pricing.as_ref().is_some_and(|adaptive| adaptive.enabled) {
            return Err("adaptive pricing is on, for which the customer would be charged more".to_owned());
        }
        Ok(())
    }
}

/// A hosted checkout as the API answers it; only what is used.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Session {
    /// `cs_…`.
    pub id: String,
    /// Where the customer pays.
    pub url: Option<String>,
    /// In minor units.
    pub amount_total: Option<i64>,
    /// Three letters.
    pub currency: Option<String>,
    /// Whether prices are converted at the customer's cost.
    pub adaptive_pricing: Option<AdaptivePricing>,
    /// Real money.
    pub livemode: bool,
}

/// See [`Session::adaptive_pricing`].
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct AdaptivePricing {
    /// Whether they are.
    pub enabled: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn catalogue() -> Catalogue {
        let product = |title: &str, currency: &str, unit_amount, unit_tax_amount| Product {
            title: title.to_owned(),
            currency: currency.to_owned(),
            unit_amount,
            unit_tax_amount,
        };
        Catalogue {
            products: BTreeMap::from([
                ("shirt".to_owned(), product("A shirt", "eur", 2000, 380)),
                ("cap".to_owned(), product("A cap", "EUR", 999, 0)),
                ("fan".to_owned(), product("A fan", "jpy", 500, 0)),
            ]),
            shipping: BTreeMap::from([(
                "post".to_owned(),
                Shipping { title: "By post".to_owned(), currency: "eur".to_owned(), amount: 490 },
            )]),
        }
    }

    fn basket(items: &[(&str, u32)], shipping: Option<&str>) -> Basket {
        let items = items.iter().map(|(product, quantity)| Item { product: (*product).to_owned(), quantity: *quantity }).collect();
        Basket { items, shipping: shipping.map(str::to_owned) }
    }

    #[test]
    fn the_total_is_price_and_declared_tax_and_shipping_and_so_are_the_lines() {
        let quote = catalogue().quote(&basket(&[("shirt", 2), ("cap", 1)], Some("post"))).expect("for sale");
        assert_eq!((quote.goods, quote.tax, quote.shipping, quote.total), (4999, 760, 490, 6249));
        let fields: BTreeMap<_, _> = quote.session_fields("o-1", "order_id", "https://a", "https://b").into_iter().collect();
        let of = |name: &str| fields.get(name).map(String::as_str).unwrap_or_default();
        let line = |index: usize| {
            let amount: i64 = of(&format!("line_items[{index}][price_data][unit_amount]")).parse().expect("an amount");
            amount * of(&format!("line_items[{index}][quantity]")).parse::<i64>().expect("a quantity")
        };
        let shipping: i64 = of("shipping_options[0][shipping_rate_data][fixed_amount][amount]").parse().expect("an amount");
        assert_eq!(line(0) + line(1) + line(2) + shipping, quote.total);
        assert!(!fields.contains_key("line_items[3][quantity]"), "no other line: {fields:?}");
        assert_eq!(
            (of("adaptive_pricing[enabled]"), of("client_reference_id"), of("payment_intent_data[metadata][order_id]")),
            ("false", "o-1", "o-1")
        );
    }

    #[test]
    fn what_is_not_for_sale_is_refused_by_field() {
        let field = |basket: Basket| catalogue().quote(&basket).expect_err("not for sale").field;
        assert_eq!(field(basket(&[], None)), "items");
        assert_eq!(field(basket(&[("hat", 1)], None)), "items[0].product");
        assert_eq!(field(basket(&[("cap", 0)], None)), "items[0].quantity");
        assert_eq!(field(basket(&[("cap", 1), ("cap", 2)], None)), "items[1].product");
        assert_eq!(field(basket(&[("cap", 1), ("fan", 1)], None)), "items[1].product");
        assert_eq!(field(basket(&[("cap", 1)], Some("drone"))), "shipping");
        assert_eq!(field(basket(&[("fan", 1)], Some("post"))), "shipping");
    }

    #[test]
    fn a_session_that_charges_anything_else_is_refused() {
        let quote = catalogue().quote(&basket(&[("cap", 1)], None)).expect("for sale");
        let session = Session {
            id: "cs_1".to_owned(),
            url: None,
            amount_total: Some(999),
            currency: Some("eur".to_owned()),
            adaptive_pricing: Some(AdaptivePricing { enabled: false }),
            livemode: false,
        };
        assert_eq!(quote.check(&session), Ok(()));
        for other in [
            Session { amount_total: Some(1029), ..session.clone() },
            Session { amount_total: None, ..session.clone() },
            Session { currency: Some("usd".to_owned()), ..session.clone() },
            Session { adaptive_pricing: Some(AdaptivePricing { enabled: true }), ..session },
        ] {
            assert!(quote.check(&other).is_err(), "{other:?}");
        }
    }

    #[test]
    fn a_catalogue_that_cannot_be_charged_is_refused() {
        assert_eq!(catalogue().check(), Ok(()));
        for (currency, unit_amount, tax) in
            [("eur", 0, 0), ("eur", 100, -1), ("kwd", 1234, 0), ("xxx", 100, 0), ("euro", 100, 0), ("isk", 150, 0)]
        {
            let mut wrong = catalogue();
            let product = Product { title: "A".to_owned(), currency: currency.to_owned(), unit_amount, unit_tax_amount: tax };
            wrong.products.insert("wrong".to_owned(), product);
            assert!(wrong.check().is_err_and(|why| why.starts_with("product wrong")), "{currency} {unit_amount}");
        }
    }
}
