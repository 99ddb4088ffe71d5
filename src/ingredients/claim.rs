//! Claims: what somebody says of the models, and what the data say of that.

use serde::{Deserialize, Serialize};

use super::estimate::SIGNIFICANT;
use super::{Estimate, Found, Gain};
use crate::error::{Error, Result};

/// What a claim expects of its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Expect {
    /// Above zero.
    Positive,
    /// Below zero.
    Negative,
    /// No more than a margin away from zero.
    Little,
    /// Anything differs.
    Different,
    /// Nothing differs.
    Same,
}

/// What the data say of a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// The whole 95 % interval lies where the claim says; a difference claimed has p < 0.05.
    Agrees,
    /// The estimate lies there, its interval does not.
    SignOnly,
    /// Neither this claim nor its opposite can be told from the data: that something is little, the interval is too wide to
    /// say, and that nothing differs no test can show.
    Undecided,
    /// The estimate lies elsewhere, or the interval of a claim of little leaves zero out and the margin too.
    NotOnTheseData,
}

impl Verdict {
    /// All.
    pub const ALL: [Self; 4] = [Self::Agrees, Self::SignOnly, Self::Undecided, Self::NotOnTheseData];

    /// As it is printed.
    pub fn text(self) -> &'static str {
        match self {
            Self::Agrees => "agrees",
            Self::SignOnly => "sign only",
            Self::Undecided => "undecided",
            Self::NotOnTheseData => "not on these data",
        }
    }
}

impl Expect {
    /// All.
    pub const ALL: [Self; 5] = [Self::Positive, Self::Negative, Self::Little, Self::Different, Self::Same];

    /// Its key in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Positive => "positive",
            Self::Negative => "negative",
            Self::Little => "little",
            Self::Different => "different",
            Self::Same => "same",
        }
    }

    /// Judges a number; `margin` is how far from zero is still little, in the number's own unit.
    ///
    /// # Errors
    /// [`Error::Setting`] when the expectation is of the other kind of test, or little is expected without a margin above 0
    pub fn judge(self, found: &Found, margin: Option<f64>) -> Result<Verdict> {
        let wrong = |expected: &str| Error::Setting {
            field: "expect".into(),
            found: self.name().into(),
            expected: expected.into(),
        };
        Ok(match (self, found) {
            (Self::Positive, Found::Effect(e)) => directed(e.value, e.lo),
            (Self::Negative, Found::Effect(e)) => directed(-e.value, -e.hi),
            (Self::Little, Found::Effect(e)) => {
                let margin = margin.filter(|m| m.is_finite() && *m > 0.0);
                little(e, margin.ok_or_else(|| wrong("a `margin` above 0 beside it"))?)
            }
            (Self::Different, Found::Difference(test) | Found::Gain(Gain { test, .. })) => {
                if test.p < SIGNIFICANT {
                    Verdict::Agrees
                } else {
                    Verdict::Undecided
                }
            }
            (Self::Same, Found::Difference(test) | Found::Gain(Gain { test, .. })) => {
                if test.p < SIGNIFICANT {
                    Verdict::NotOnTheseData
                } else {
                    Verdict::Undecided
                }
            }
            (_, Found::Effect(_)) => return Err(wrong("positive, negative or little, as the test has an effect")),
            (_, Found::Difference(_) | Found::Gain(_)) => {
                return Err(wrong("different or same, as the test has no direction"));
            }
        })
    }
}

fn directed(value: f64, near_end: f64) -> Verdict {
    if near_end > 0.0 {
        Verdict::Agrees
    } else if value > 0.0 {
        Verdict::SignOnly
    } else {
        Verdict::NotOnTheseData
    }
}

fn little(e: &Estimate, margin: f64) -> Verdict {
    if e.lo > -margin && e.hi < margin {
        Verdict::Agrees
    } else if e.is_away_from_zero() {
        Verdict::NotOnTheseData
    } else {
        Verdict::Undecided
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::ingredients::Omnibus;

    fn effect(value: f64, reach: f64) -> Found {
        let (lo, hi) = (value - reach, value + reach);
        Found::Effect(Estimate { value, lo, hi, se: None, statistic: 0.0, df: None, p: 0.5, n: 9 })
    }

    #[test]
    fn a_claim_holds_when_its_whole_interval_does() {
        let judge = |expect: Expect, value, reach| expect.judge(&effect(value, reach), Some(0.1)).unwrap();
        assert_eq!(judge(Expect::Positive, 0.2, 0.1), Verdict::Agrees);
        assert_eq!(judge(Expect::Positive, 0.2, 0.3), Verdict::SignOnly);
        assert_eq!(judge(Expect::Positive, -0.2, 0.3), Verdict::NotOnTheseData);
        assert_eq!(judge(Expect::Negative, -0.2, 0.1), Verdict::Agrees);
        assert_eq!(judge(Expect::Negative, 0.2, 0.1), Verdict::NotOnTheseData);
        assert_eq!(judge(Expect::Little, 0.02, 0.05), Verdict::Agrees);
        assert_eq!(judge(Expect::Little, 0.06, 0.05), Verdict::NotOnTheseData);
        assert_eq!(judge(Expect::Little, 0.02, 0.5), Verdict::Undecided, "no evidence is not evidence of little");
    }

    #[test]
    fn no_test_shows_that_nothing_differs() {
        let test = |p| Found::Difference(Omnibus { statistic: 1.0, df: 2.0, df_error: None, p, n: 9 });
        assert_eq!(Expect::Same.judge(&test(0.4), None).unwrap(), Verdict::Undecided);
        assert_eq!(Expect::Same.judge(&test(0.01), None).unwrap(), Verdict::NotOnTheseData);
        assert_eq!(Expect::Different.judge(&test(0.01), None).unwrap(), Verdict::Agrees);
        assert!(
            Expect::Positive.judge(&test(0.4), None).is_err() && Expect::Same.judge(&effect(0.1, 0.1), None).is_err()
        );
        assert!(Expect::Little.judge(&effect(0.1, 0.1), None).is_err());
    }
}
