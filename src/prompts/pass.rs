//! One pass: rows of equal length that the model computes together.

use std::ops::Range;

use crate::prompts::tokens::TokenId;

/// What a slot of the pool holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slot {
    /// Keys and values of a token.
    Token,
    /// The state after the last token of a row. Slot 0 is the state before all tokens.
    State,
}

/// A log-probability to be read off a pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// Index into [`Pass::scored`].
    pub scored: usize,
    /// The token whose log-probability is wanted.
    pub token: TokenId,
    /// Where it goes in [`Evaluation::log_probs`](crate::engine::Evaluation).
    pub slot: usize,
}

/// One call of the model: rows of equal past and new length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pass {
    /// Tokens of every row that are in the pool already.
    pub past_len: usize,
    /// Tokens of every row that are computed now.
    pub new_len: usize,
    /// The new tokens, `[rows, new_len]` row by row.
    pub tokens: Vec<TokenId>,
    /// The first of them in every row that an encoder reads; the decoder reads the others.
    pub source_len: usize,
    /// What each of them follows, `[rows, new_len]`: 0 the past, k the k-th new token of its row.
    pub follows: Vec<usize>,
    /// What the slots of the pool hold.
    pub slot: Slot,
    /// Slots of the past, `[rows, past_len]`; or of the states that are continued, `[rows]`, and `past_len` is 0.
    pub past: Vec<usize>,
    /// Positions that pass through the head, as (row, index among the new tokens), ascending.
    pub scored: Vec<(usize, usize)>,
    /// What is read there.
    pub wanted: Vec<Wanted>,
    /// Scored positions whose most probable token is wanted, with the index of the question.
    pub tops: Vec<(usize, usize)>,
    /// The slot of the first new token (of the first row's state), the others behind it; `None` where nothing continues
    /// them.
    pub keep: Option<usize>,
    /// Whether the logits of the whole vocabulary are wanted at the scored positions.
    pub logits: bool,
}

impl Pass {
    /// Number of rows.
    pub fn n_rows(&self) -> usize {
        self.tokens.len() / self.new_len
    }

    /// Slots that so many rows take when they are kept.
    pub fn slots(&self, n_rows: usize) -> usize {
        match self.slot {
            Slot::Token => n_rows * self.new_len,
            Slot::State => n_rows,
        }
    }

    /// Gives a pass of a single token its row twice: a product with a single row runs on another kernel and rounds otherwise.
    pub(crate) fn double_single(&mut self) {
        if self.tokens.len() == 1 {
            self.tokens.extend_from_within(..);
            self.follows.extend_from_within(..);
            self.past.extend_from_within(..);
        }
    }

    /// Position of every new token in its sequence, `[rows, new_len]`.
    pub fn positions(&self) -> Vec<usize> {
        let mut positions = vec![0; self.tokens.len()];
        for (row, follows) in self.follows.chunks(self.new_len).enumerate() {
            let start = row * self.new_len;
            for (index, follows) in follows.iter().enumerate() {
                positions[start + index] = match follows {
                    0 => self.past_len,
                    k => positions[start + k - 1] + 1,
                };
            }
        }
        positions
    }

    /// What every new token sees, `[rows, new_len, past_len + new_len]`: the past, the tokens it follows, and itself.
    pub fn mask(&self) -> Vec<bool> {
        let width = self.past_len + self.new_len;
        let mut mask = vec![false; self.tokens.len() * width];
        for (row, follows) in self.follows.chunks(self.new_len).enumerate() {
            let start = row * self.new_len;
            for (index, follows) in follows.iter().enumerate() {
                let (done, rest) = mask.split_at_mut((start + index) * width);
                let own = &mut rest[..width];
                match follows {
                    0 => own[..self.past_len].fill(true),
                    k => own.copy_from_slice(&done[(start + k - 1) * width..(start + k) * width]),
                }
                own[self.past_len + index] = true;
            }
        }
        mask
    }

    /// The first and the second half of the rows; `None` for a single row.
    pub fn halves(&self) -> Option<[Self; 2]> {
        let (n_rows, new_len) = (self.n_rows(), self.new_len);
        if n_rows < 2 {
            return None;
        }
        let of_past = self.past.len() / n_rows;
        let part = |rows: Range<usize>| {
            let scored: Vec<usize> = (0..self.scored.len()).filter(|i| rows.contains(&self.scored[*i].0)).collect();
            let moved = |i: usize| scored.binary_search(&i).ok();
            Self {
                past_len: self.past_len,
                new_len,
                source_len: self.source_len,
                slot: self.slot,
                tokens: self.tokens[rows.start * new_len..rows.end * new_len].to_vec(),
                follows: self.follows[rows.start * new_len..rows.end * new_len].to_vec(),
                past: self.past[rows.start * of_past..rows.end * of_past].to_vec(),
                scored: scored.iter().map(|&i| (self.scored[i].0 - rows.start, self.scored[i].1)).collect(),
                wanted: self.wanted.iter().filter_map(|w| Some(Wanted { scored: moved(w.scored)?, ..*w })).collect(),
                tops: self.tops.iter().filter_map(|&(i, question)| Some((moved(i)?, question))).collect(),
                keep: self.keep.map(|slot| slot + self.slots(rows.start)),
                logits: self.logits,
            }
        };
        Some([part(0..n_rows / 2), part(n_rows / 2..n_rows)])
    }
}
