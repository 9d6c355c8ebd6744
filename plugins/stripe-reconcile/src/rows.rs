//! One row, of any input, in 56 bytes: amounts are signed as the balance feels them, ids are numbers of [`Names`].

use taskwarden_money::{Currency, Rate};

use crate::kind::Kind;
use crate::store::{Name, Names, Pages};
use crate::text::Moment;

/// What a status comes down to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) enum Status {
    /// Not said.
    #[default]
    Unsaid,
    /// Money moved, or will for certain.
    Paid,
    /// Not decided.
    Pending,
    /// No money moved, or it came back.
    Failed,
    /// A dispute that was lost.
    Lost,
    /// A dispute that was won.
    Won,
    /// A dispute that is not decided.
    Disputed,
    /// An inquiry, or a dispute that was settled before it became one: no money moves.
    Inquiry,
}

impl Status {
    /// None when the word is not known.
    pub(crate) fn read(word: &[u8]) -> Option<Self> {
        Some(match word {
            b"" => Self::Unsaid,
            b"succeeded"
            | b"paid"
            | b"complete"
            | b"completed"
            | b"captured"
            | b"available"
            | b"settled"
            | b"refunded"
            | b"partially_refunded"
            | b"fulfilled"
            | b"shipped"
            | b"posted"
            | b"reversed" => Self::Paid,
            b"pending"
            | b"processing"
            | b"requires_action"
            | b"requires_capture"
            | b"requires_confirmation"
            | b"requires_payment_method"
            | b"in_transit"
            | b"open"
            | b"created"
            | b"authorized"
            | b"draft" => Self::Pending,
            b"failed" | b"canceled" | b"cancelled" | b"expired" | b"void" | b"voided" | b"unpaid" | b"uncollectible" => Self::Failed,
            b"lost" => Self::Lost,
            b"won" => Self::Won,
            b"needs_response" | b"under_review" => Self::Disputed,
            b"warning_needs_response" | b"warning_under_review" | b"warning_closed" | b"prevented" => Self::Inquiry,
            _ => return None,
        })
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Unsaid => "",
            Self::Paid => "paid",
            Self::Pending => "pending",
            Self::Failed => "failed",
            Self::Lost => "lost",
            Self::Won => "won",
            Self::Inquiry => "warning_closed",
            Self::Disputed => "under_review",
        }
    }
}

/// What is true of a row besides its values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Hash)]
pub(crate) struct Flags(u8);

impl Flags {
    /// The row says what the fee is.
    pub(crate) const FEE_KNOWN: u8 = 1;
    /// Its net is not its amount less its fee.
    pub(crate) const NET_WRONG: u8 = 2;
    /// It comes from an earlier run's open items.
    pub(crate) const CARRIED: u8 = 4;
    /// A payout that Stripe made by its schedule.
    pub(crate) const AUTOMATIC: u8 = 8;
    /// A payout of which is known whether it is automatic.
    pub(crate) const SCHEDULE_KNOWN: u8 = 16;
    /// A payout whose membership Stripe has not finished.
    pub(crate) const NOT_FINAL: u8 = 32;
    /// A bank line whose text names Stripe.
    pub(crate) const SAYS_STRIPE: u8 = 64;

    pub(crate) fn has(self, flag: u8) -> bool {
        self.0 & flag != 0
    }

    pub(crate) fn set(&mut self, flag: u8) {
        self.0 |= flag;
    }
}

/// Which id of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Key {
    /// `txn_…`
    BalanceTransaction = 0,
    /// `ch_ py_ re_ dp_ po_ tr_`
    Source = 1,
    /// `pi_…`, or the charge where no payment intent is said; of a payout and a bank line the trace id.
    Payment = 2,
    /// Ours, from the metadata; of a bank line its own id.
    Order = 3,
}

/// One row of any input. Which side it is on says the table that it is in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Row {
    pub(crate) amount: i64,
    pub(crate) fee: i64,
    pub(crate) ids: [Name; 4],
    /// The payout it is part of.
    pub(crate) payout: Name,
    /// 0, or one more than a position in [`Table::extras`].
    pub(crate) extra: u32,
    pub(crate) created: Moment,
    /// When the money is available; of a payout, when it arrives.
    pub(crate) available: Moment,
    pub(crate) currency: u8,
    pub(crate) balance: u8,
    pub(crate) scope: u8,
    pub(crate) kind: KindByte,
    pub(crate) status: Status,
    pub(crate) flags: Flags,
}

/// A kind with a default, so that rows can be made from parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct KindByte(pub(crate) Kind);

impl Default for KindByte {
    fn default() -> Self {
        Self(Kind::Unknown)
    }
}

impl Row {
    pub(crate) fn id(&self, key: Key) -> Name {
        self.ids.get(key as usize).copied().unwrap_or_default()
    }

    pub(crate) fn kind(&self) -> Kind {
        self.kind.0
    }

    pub(crate) fn net(&self) -> i128 {
        i128::from(self.amount) - i128::from(self.fee)
    }
}

/// What few rows have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Extra {
    /// What the row says its net is, where that is not amount less fee.
    pub(crate) net: Option<i64>,
    /// What the customer was charged, where that is another currency.
    pub(crate) presentment: Option<(i64, u8)>,
    pub(crate) rate: Option<Rate>,
}

/// All rows of one input.
#[derive(Default)]
pub(crate) struct Table {
    pub(crate) rows: Pages<Row>,
    pub(crate) extras: Pages<Extra>,
    /// What is true of some row, so that what nobody has need not be looked for in all of them: a bit for each kind and for each key.
    kinds: u32,
    flags: Flags,
    fees_known: u64,
    keys: [bool; 4],
    latest: Moment,
}

impl Table {
    pub(crate) fn row(&self, at: u32) -> Row {
        self.rows.get(at).copied().unwrap_or_default()
    }

    pub(crate) fn extra(&self, row: &Row) -> Extra {
        row.extra.checked_sub(1).and_then(|at| self.extras.get(at)).copied().unwrap_or_default()
    }

    /// Whether some row is of one of these kinds.
    pub(crate) fn has_kind(&self, kinds: &[Kind]) -> bool {
        kinds.iter().any(|kind| self.kinds & (1 << *kind as u32) != 0)
    }

    /// Whether one of these flags is set in some row.
    pub(crate) fn has_flag(&self, flags: u8) -> bool {
        self.flags.has(flags)
    }

    /// How many rows say what the fee is.
    pub(crate) fn fees_known(&self) -> u64 {
        self.fees_known
    }

    /// Whether some row has this id.
    pub(crate) fn has_key(&self, key: Key) -> bool {
        self.keys.get(key as usize).copied().unwrap_or_default()
    }

    /// The last moment at which a row was created.
    pub(crate) fn latest(&self) -> Moment {
        self.latest
    }

    /// Looks ahead at rows that will be wanted, at their first and their last bytes: see [`Names::look_ahead`].
    pub(crate) fn warm(&self, rows: impl Iterator<Item = u32>) {
        let touch = |row: &Row| row.amount.wrapping_add(i64::from(row.flags.0));
        let touched = rows.fold(0i64, |sum, at| sum.wrapping_add(self.rows.get(at).map_or(0, touch)));
        std::hint::black_box(touched);
    }

    /// The net that is effective: the one stated.
    pub(crate) fn net(&self, row: &Row) -> i128 {
        self.extra(row).net.map_or_else(|| row.net(), i128::from)
    }

    #[inline(always)]
    pub(crate) fn push(&mut self, mut row: Row, extra: Extra) -> Option<u32> {
        if extra.net.is_some() || extra.presentment.is_some() || extra.rate.is_some() {
            row.extra = self.extras.push(extra)?.checked_add(1)?;
        }
        self.kinds |= 1 << row.kind() as u32;
        self.flags.set(row.flags.0);
        self.fees_known += u64::from(row.flags.has(Flags::FEE_KNOWN));
        self.latest = self.latest.max(row.created);
        self.keys.iter_mut().zip(row.ids).for_each(|(known, id)| *known |= id.is_some());
        self.rows.push(row)
    }
}

/// Small sets of values that repeat in every row: currencies, balance types, accounts.
pub(crate) struct Few<T>(Vec<T>);

impl<T> Default for Few<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: PartialEq + Copy> Few<T> {
    /// The number of a value, new or old; nothing when there are more than 255.
    pub(crate) fn add(&mut self, value: T) -> Option<u8> {
        // The last ones are the likely ones; the list is short.
        if let Some(at) = self.0.iter().position(|known| *known == value) {
            return u8::try_from(at).ok();
        }
        let at = u8::try_from(self.0.len()).ok()?;
        self.0.push(value);
        Some(at)
    }

    pub(crate) fn get(&self, at: u8) -> Option<T> {
        self.0.get(usize::from(at)).copied()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u8, T)> {
        (0..=u8::MAX).zip(self.0.iter().copied())
    }
}

/// An account and whether it is live, as far as a row says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Scope {
    pub(crate) account: Name,
    pub(crate) livemode: Option<bool>,
}

/// Everything that was read.
pub(crate) struct Book {
    pub(crate) names: Names,
    pub(crate) currencies: Few<Currency>,
    pub(crate) balances: Few<Name>,
    pub(crate) scopes: Few<Scope>,
    pub(crate) ledger: Table,
    pub(crate) stripe: Table,
    pub(crate) payouts: Table,
    pub(crate) bank: Table,
}

impl Book {
    pub(crate) fn with_room(names: usize) -> Self {
        Self {
            names: Names::with_room(names),
            currencies: Few::default(),
            // The payments balance has no name and is number 0, which a row has that says nothing else.
            balances: Few(vec![Name::NONE]),
            scopes: Few::default(),
            ledger: Table::default(),
            stripe: Table::default(),
            payouts: Table::default(),
            bank: Table::default(),
        }
    }

    pub(crate) fn currency(&self, at: u8) -> &str {
        // The code lives in the list, so it can be lent out.
        self.currencies.0.get(usize::from(at)).map_or("", Currency::code)
    }

    pub(crate) fn decimals(&self, at: u8) -> Option<u32> {
        self.currencies.get(at).and_then(Currency::decimals)
    }
}
