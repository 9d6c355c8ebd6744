//! Books that hold what is left after refunds: the charge is larger than the ledger says, by exactly the refunds that nobody recorded.

use std::collections::BTreeMap;

use super::compare::Comparison;
use crate::class::{Class, Outcome};
use crate::kind::{Family, Kind};
use crate::rows::Key;
use crate::store::Name;

impl Comparison<'_> {
    pub(super) fn explain_by_refunds(&mut self) {
        let mut refunds: BTreeMap<Name, Vec<u32>> = BTreeMap::new();
        for (at, row) in self.right.open().filter(|(_, row)| row.kind() == Kind::Refund && row.id(Key::Payment).is_some()) {
            refunds.entry(row.id(Key::Payment)).or_default().push(at);
        }
        if refunds.is_empty() {
            return;
        }
        let over: Vec<u32> =
            self.findings.all.iter().filter(|(_, f)| f.leg == self.leg && f.class == Class::AmountOver).map(|(at, _)| at).collect();
        for at in over {
            let Some(finding) = self.findings.all.get(at).copied() else { continue };
            let (left, right) = (self.findings.rows(finding.left), self.findings.rows(finding.right));
            let ([left], [right]) = (&*left, &*right) else { continue };
            let (ledger, charge, right) = (self.left.row(*left), self.right.row(*right), *right);
            let Some(candidates) = refunds.get(&charge.id(Key::Payment)) else { continue };
            let same_currency = candidates.iter().all(|refund| self.right.row(*refund).currency == charge.currency);
            let refunded: i128 = candidates.iter().map(|refund| i128::from(self.right.row(*refund).amount)).sum();
            let explained = i128::from(charge.amount) + refunded == i128::from(ledger.amount);
            if charge.kind().family() != Family::Payment || !same_currency || !explained {
                continue;
            }
            let mut members = vec![right];
            members.extend_from_slice(candidates);
            for refund in candidates {
                self.right.taken.set(*refund);
            }
            refunds.remove(&charge.id(Key::Payment));
            let members = self.findings.members(&members);
            if let Some(finding) = self.findings.all.get_mut(at) {
                finding.right = members;
                finding.class = Class::PartialRefund;
                finding.outcome = Outcome::Ok;
            }
        }
    }
}
