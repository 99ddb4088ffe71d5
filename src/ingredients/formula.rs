//! Formulas of linear mixed models, as people write them: `r2 ~ instruct + z(log2(max_context)) + (1 | family)`.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Result};

/// What is done to a column before it enters the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Function {
    /// `z(x)`: (x − mean) / sd over the rows used, ddof 1.
    Z,
    /// `log(x)`: natural logarithm.
    Log,
    /// `log2(x)`
    Log2,
    /// `log10(x)`
    Log10,
    /// `C(x)`: each number is a level of a factor.
    Factor,
}

const FUNCTIONS: [(&str, Function); 5] = [
    ("z", Function::Z),
    ("log", Function::Log),
    ("log2", Function::Log2),
    ("log10", Function::Log10),
    ("C", Function::Factor),
];

/// A column and what is done to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variable {
    /// Outermost first: `z(log2(x))` is `[Z, Log2]`.
    pub functions: Vec<Function>,
    /// Name of the column.
    pub column: String,
}

/// One variable, or the interaction of several: `a:b`.
#[derive(Debug, Clone)]
pub struct Term(pub Vec<Variable>);

/// `a:b` and `b:a` are the same term.
impl PartialEq for Term {
    fn eq(&self, other: &Self) -> bool {
        self.0.len() == other.0.len() && self.0.iter().all(|variable| other.0.contains(variable))
    }
}

/// `(1 + x | g)`: effects that differ between the groups. Effects of one such term correlate; `(1 + x || g)` is read as
/// `(1 | g) + (0 + x | g)`, whose effects do not.
#[derive(Debug, Clone, PartialEq)]
pub struct Random {
    /// Whether the intercept differs.
    pub intercept: bool,
    /// Slopes that differ.
    pub terms: Vec<Term>,
    /// Columns whose cells together name the group: one, or several for `(1 | g:h)`.
    pub groups: Vec<String>,
}

/// The response, the fixed effects and the random effects of a model.
///
/// `y ~ a + b:c + d*e + (1 + a | g)`: `+` adds terms, `:` is an interaction, `d*e` is `d + e + d:e`, `0 +` or `- 1` leaves
/// out the intercept, parentheses hold random effects. Names with other characters than letters, digits, `_` and `.` stand
/// between backquotes. Main effects are put before interactions, and a term said twice counts once.
///
/// ```
/// use alike::ingredients::Formula;
/// let formula: Formula = "r2 ~ instruct*z(layers) + (1 | family)".parse()?;
/// assert_eq!(formula.to_string(), "r2 ~ instruct + z(layers) + instruct:z(layers) + (1 | family)");
/// let wrong = "r2 ~ instruct + (1 | )".parse::<Formula>().unwrap_err().to_string();
/// assert!(wrong.contains("character 22") && wrong.contains("the column of the groups"), "{wrong}");
/// # Ok::<(), alike::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Formula {
    /// What is explained.
    pub response: Variable,
    /// Whether there is an intercept.
    pub intercept: bool,
    /// Fixed effects.
    pub terms: Vec<Term>,
    /// Random effects.
    pub random: Vec<Random>,
}

impl Formula {
    /// Columns of the table that the formula names, each once.
    pub fn columns(&self) -> Vec<&str> {
        let terms = self.terms.iter().chain(self.random.iter().flat_map(|random| &random.terms));
        let variables = std::iter::once(&self.response).chain(terms.flat_map(|term| &term.0));
        let groups = self.random.iter().flat_map(|random| &random.groups);
        let mut columns: Vec<&str> = vec![];
        for column in variables.map(|variable| &variable.column).chain(groups) {
            if !columns.contains(&column.as_str()) {
                columns.push(column);
            }
        }
        columns
    }
}

impl FromStr for Formula {
    type Err = Error;

    /// # Errors
    /// [`Error::Setting`], which gives the character at which the text is no formula
    fn from_str(text: &str) -> Result<Self> {
        let mut parser = Parser { text, tokens: tokens(text)?, at: 0 };
        let response = parser.variable("the column that is explained")?;
        parser.expect("~", "~")?;
        let sum = parser.sum(true)?;
        match parser.peek() {
            None => Ok(Self { response, intercept: sum.intercept, terms: sum.terms, random: sum.random }),
            Some(_) => Err(parser.unexpected("`+`, `*`, `:` or the end")),
        }
    }
}

/// A piece of text and the character at which it begins, counted from 1.
#[derive(Debug, Clone, PartialEq)]
struct Token {
    kind: Kind,
    text: String,
    at: usize,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Name,
    Quoted,
    Number,
    Symbol,
}

fn wrong(text: &str, at: usize, found: &str, expected: &str) -> Error {
    Error::Setting {
        field: format!("character {at} of {text}"),
        found: found.to_owned(),
        expected: expected.to_owned(),
    }
}

fn tokens(text: &str) -> Result<Vec<Token>> {
    let characters: Vec<char> = text.chars().collect();
    let mut tokens = vec![];
    let mut at = 0;
    while at < characters.len() {
        let start = at;
        let run = |from: usize, of: fn(char) -> bool| {
            from + characters[from..].iter().take_while(|&&character| of(character)).count()
        };
        let first = characters[at];
        let (kind, inside) = if first.is_whitespace() {
            at += 1;
            continue;
        } else if first.is_alphabetic() || first == '_' {
            at = run(at, is_name);
            (Kind::Name, start..at)
        } else if first.is_ascii_digit() {
            at = run(at, |character| character.is_ascii_digit() || character == '.');
            (Kind::Number, start..at)
        } else if first == '`' {
            let end = run(at + 1, |character| character != '`');
            if end == characters.len() {
                return Err(wrong(text, start + 1, "a backquote", "a second one after the name"));
            }
            at = end + 1;
            (Kind::Quoted, start + 1..end)
        } else {
            at += if characters[at..].starts_with(&['|', '|']) { 2 } else { 1 };
            (Kind::Symbol, start..at)
        };
        tokens.push(Token { kind, text: characters[inside].iter().collect(), at: start + 1 });
    }
    Ok(tokens)
}

fn is_name(character: char) -> bool {
    character.is_alphanumeric() || character == '_' || character == '.'
}

struct Parser<'a> {
    text: &'a str,
    tokens: Vec<Token>,
    at: usize,
}

struct Sum {
    intercept: bool,
    terms: Vec<Term>,
    random: Vec<Random>,
}

impl Parser<'_> {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    fn is_symbol(&self, symbol: &str) -> bool {
        self.peek().is_some_and(|token| token.kind == Kind::Symbol && token.text == symbol)
    }

    /// Takes a symbol if it is next.
    fn take(&mut self, symbol: &str) -> bool {
        let there = self.is_symbol(symbol);
        self.at += usize::from(there);
        there
    }

    fn expect(&mut self, symbol: &str, expected: &str) -> Result<()> {
        if self.take(symbol) { Ok(()) } else { Err(self.unexpected(&format!("`{expected}`"))) }
    }

    fn unexpected(&self, expected: &str) -> Error {
        match self.peek() {
            Some(token) => wrong(self.text, token.at, &format!("`{}`", token.text), expected),
            None => wrong(self.text, self.text.chars().count() + 1, "the end", expected),
        }
    }

    /// Terms up to a closing parenthesis, a bar or the end. `top`: random effects may stand among them.
    fn sum(&mut self, top: bool) -> Result<Sum> {
        let mut sum = Sum { intercept: true, terms: vec![], random: vec![] };
        let mut minus = !self.take("+") && self.take("-");
        loop {
            let number = self.peek().filter(|token| token.kind == Kind::Number).map(|token| token.text.clone());
            match number.as_deref() {
                Some("1") => sum.intercept = !minus,
                Some("0") if !minus => sum.intercept = false,
                Some(_) => return Err(self.unexpected("0, 1 or a column")),
                None if minus => return Err(self.unexpected("`1`: only the intercept can be taken away")),
                None if top && self.take("(") => self.random(&mut sum.random)?,
                None => self.product(&mut sum.terms)?,
            }
            self.at += usize::from(number.is_some());
            minus = self.is_symbol("-");
            if !(self.take("+") || self.take("-")) {
                break;
            }
        }
        sum.terms.sort_by_key(|term| term.0.len()); // stable: otherwise in the order written
        Ok(sum)
    }

    /// `a:b*c`, each of whose subsets is a term.
    fn product(&mut self, terms: &mut Vec<Term>) -> Result<()> {
        let mut factors = vec![self.interaction()?];
        while self.take("*") {
            factors.push(self.interaction()?);
        }
        if factors.len() > MAX_PRODUCT {
            return Err(self.unexpected(&format!("at most {MAX_PRODUCT} variables in a product")));
        }
        for subset in 1..1usize << factors.len() {
            let chosen = factors.iter().enumerate().filter(|(i, _)| subset >> i & 1 == 1);
            let mut variables: Vec<Variable> = vec![];
            for variable in chosen.flat_map(|(_, factor)| factor) {
                if !variables.contains(variable) {
                    variables.push(variable.clone());
                }
            }
            let term = Term(variables);
            if !terms.contains(&term) {
                terms.push(term);
            }
        }
        Ok(())
    }

    fn interaction(&mut self) -> Result<Vec<Variable>> {
        let mut variables = vec![self.variable("a column, z(column) or (1 | group)")?];
        while self.take(":") {
            variables.push(self.variable("a column")?);
        }
        Ok(variables)
    }

    /// A column, inside of any number of functions.
    fn variable(&mut self, expected: &str) -> Result<Variable> {
        let mut functions: Vec<(usize, Function)> = vec![];
        let column = loop {
            let is_name = |token: &&Token| matches!(token.kind, Kind::Name | Kind::Quoted);
            let Some(token) = self.peek().filter(is_name).cloned() else {
                return Err(self.unexpected(if functions.is_empty() { expected } else { "a column" }));
            };
            self.at += 1;
            if token.kind == Kind::Quoted || !self.take("(") {
                break token.text;
            }
            let Some((_, function)) = FUNCTIONS.iter().find(|(name, _)| *name == token.text) else {
                let known: Vec<&str> = FUNCTIONS.iter().map(|(name, _)| *name).collect();
                let expected = format!("one of {}", known.join(", "));
                return Err(wrong(self.text, token.at, &format!("the function `{}`", token.text), &expected));
            };
            functions.push((token.at, *function));
        };
        for _ in &functions {
            self.expect(")", ")")?;
        }
        if let (Some(factor), 2..) = (functions.iter().rposition(|(_, f)| *f == Function::Factor), functions.len()) {
            let (at, _) = functions[factor.min(functions.len() - 2)];
            return Err(wrong(self.text, at, "C() with another function", "C(column): levels are no numbers"));
        }
        Ok(Variable { functions: functions.into_iter().map(|(_, function)| function).collect(), column })
    }

    /// `1 + x | g)`, the parenthesis before it being taken already.
    fn random(&mut self, random: &mut Vec<Random>) -> Result<()> {
        let effects = self.sum(false)?;
        let apart = self.take("||");
        if !apart {
            self.expect("|", "|")?;
        }
        let mut groups = vec![];
        loop {
            let group = self.variable("the column of the groups")?;
            if !group.functions.is_empty() {
                self.at -= 1;
                return Err(self.unexpected("groups without a function"));
            }
            groups.push(group.column);
            if !self.take(":") {
                break;
            }
        }
        if self.is_symbol("/") {
            return Err(self.unexpected("`:` or `)`: write (1 | a/b) as (1 | a) + (1 | a:b)"));
        }
        if !effects.intercept && effects.terms.is_empty() {
            return Err(self.unexpected("an intercept or a slope before the bar"));
        }
        self.expect(")", ")")?;
        let one = |intercept, terms| Random { intercept, terms, groups: groups.clone() };
        if apart {
            random.extend(effects.intercept.then(|| one(true, vec![])));
            random.extend(effects.terms.into_iter().map(|term| one(false, vec![term])));
        } else {
            random.push(one(effects.intercept, effects.terms));
        }
        Ok(())
    }
}

/// `a*b*c*d*e*f` has 63 terms.
const MAX_PRODUCT: usize = 6;

fn name(column: &str) -> String {
    let plain = column.chars().all(is_name) && column.starts_with(|first: char| first.is_alphabetic() || first == '_');
    if plain { column.to_owned() } else { format!("`{column}`") }
}

fn joined<T: fmt::Display>(parts: &[T], by: &str) -> String {
    parts.iter().map(T::to_string).collect::<Vec<_>>().join(by)
}

impl fmt::Display for Variable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for function in &self.functions {
            let (name, _) = FUNCTIONS.iter().find(|(_, known)| known == function).expect("the table has each function");
            write!(f, "{name}(")?;
        }
        write!(f, "{}{}", name(&self.column), ")".repeat(self.functions.len()))
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&joined(&self.0, ":"))
    }
}

fn effects(intercept: bool, terms: &[Term]) -> String {
    let first = match (intercept, terms.is_empty()) {
        (true, true) => "1",
        (true, false) => "1 + ",
        (false, true) => "0",
        (false, false) => "0 + ",
    };
    format!("{first}{}", joined(terms, " + "))
}

impl fmt::Display for Random {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let groups: Vec<String> = self.groups.iter().map(|group| name(group)).collect();
        write!(f, "({} | {})", effects(self.intercept, &self.terms), groups.join(":"))
    }
}

impl fmt::Display for Formula {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fixed = effects(self.intercept, &self.terms);
        let fixed = if self.terms.is_empty() { &fixed } else { fixed.trim_start_matches("1 + ") };
        write!(f, "{} ~ {fixed}", self.response)?;
        self.random.iter().try_for_each(|random| write!(f, " + {random}"))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_written_is_what_is_read() {
        for (text, shown) in [
            ("y ~ a", "y ~ a"),
            ("y~1", "y ~ 1"),
            ("y ~ 0 + a", "y ~ 0 + a"),
            ("y ~ a - 1", "y ~ 0 + a"),
            ("y ~ -1 + a", "y ~ 0 + a"),
            ("log10(y) ~ z(log2(x)) + C(year) + (1|g)", "log10(y) ~ z(log2(x)) + C(year) + (1 | g)"),
            ("y ~ a:b + b + a + b:a", "y ~ b + a + a:b"),
            ("y ~ a*b*c", "y ~ a + b + c + a:b + a:c + b:c + a:b:c"),
            ("y ~ x + (1 + x || g) + (1 | h:g)", "y ~ x + (1 | g) + (0 + x | g) + (1 | h:g)"),
            ("y ~ (x | g) + x", "y ~ x + (1 + x | g)"),
            ("`my score` ~ `1st`", "`my score` ~ `1st`"),
        ] {
            let formula: Formula = text.parse().unwrap();
            assert_eq!(formula.to_string(), shown);
            assert_eq!(shown.parse::<Formula>().unwrap(), formula);
        }
        let formula: Formula = "y ~ z(a)*b + (1 + a | g:h)".parse().unwrap();
        assert_eq!(formula.columns(), ["y", "a", "b", "g", "h"]);
    }

    #[test]
    fn what_is_no_formula_is_pointed_at() {
        for (text, at, what) in [
            ("", 1, "the end"),
            ("y", 2, "`~`"),
            ("y ~", 4, "a column"),
            ("y ~ a ++ b", 8, "`+`"),
            ("y ~ a b", 7, "`b`"),
            ("y ~ sqrt(a)", 5, "z, log, log2, log10, C"),
            ("y ~ z(a", 8, "`)`"),
            ("y ~ z(C(a))", 5, "levels are no numbers"),
            ("y ~ a - b", 9, "only the intercept"),
            ("y ~ 2", 5, "0, 1 or a column"),
            ("y ~ (1 | a/b)", 11, "(1 | a) + (1 | a:b)"),
            ("y ~ (0 | g)", 11, "an intercept or a slope"),
            ("y ~ (a + b)*c", 11, "`|`"),
            ("y ~ (1 | z(g))", 13, "without a function"),
            ("y ~ `a", 5, "a second one"),
            ("y ~ ~ a", 5, "`~`"),
            ("y ~ é ß", 7, "`ß`"),
        ] {
            let error = text.parse::<Formula>().unwrap_err().to_string();
            assert!(error.contains(&format!("character {at} of {text}")) && error.contains(what), "{text}: {error}");
        }
        // No stack is deep enough for whatever somebody writes.
        let deep = format!("y ~ {}a", "z(".repeat(200_000));
        assert!(deep.parse::<Formula>().unwrap_err().to_string().contains("`)`"));
        let deep = format!("y ~ {}a{}", "z(".repeat(50_000), ")".repeat(50_000));
        assert_eq!(deep.parse::<Formula>().unwrap().columns(), ["y", "a"]);
    }
}
