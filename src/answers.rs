//! What a free answer says: which of some options it names.

/// How an answer was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parsed {
    /// It names this option and no other.
    Option(usize),
    /// It names no option.
    NoOption,
    /// It names both of two.
    BothOptions,
    /// It names several of more than two.
    SeveralOptions,
    /// It says nothing.
    Empty,
}

impl Parsed {
    /// As the column `parse` has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Option(_) => "parsed",
            Self::NoOption => "unparsed: no option named",
            Self::BothOptions => "unparsed: both options named",
            Self::SeveralOptions => "unparsed: several options named",
            Self::Empty => "unparsed: empty",
        }
    }

    /// The option chosen; `None` when the answer does not say.
    pub fn chosen(self) -> Option<usize> {
        match self {
            Self::Option(option) => Some(option),
            _ => None,
        }
    }
}

/// Reads an answer: whole words, whatever their case, the longest name first, so that "baseball glove" does not also name
/// "baseball". `others` are in the question without being options (an anchor): they may be named too, and where an option
/// stands inside their names, that is not naming the option.
pub fn parse(answer: &str, others: &[&str], options: &[&str]) -> Parsed {
    let mut text = folded(answer);
    if text.is_empty() {
        return Parsed::Empty;
    }
    let names: Vec<String> = options.iter().chain(others).map(|name| folded(name)).collect();
    let mut order: Vec<usize> = (0..names.len()).collect();
    order.sort_by_key(|i| std::cmp::Reverse(names[*i].len()));
    let mut struck = vec![false; names.len()];
    for i in order {
        struck[i] = strike(&mut text, &names[i]);
    }
    // Options that differ in case only cannot be told apart: to name one is to name all of them.
    let named = |option: usize| (0..options.len()).any(|other| struck[other] && names[other] == names[option]);
    let named: Vec<usize> = (0..options.len()).filter(|option| named(*option)).collect();
    match (&named[..], options.len()) {
        ([], _) => Parsed::NoOption,
        ([one], _) => Parsed::Option(*one),
        (_, 2) => Parsed::BothOptions,
        _ => Parsed::SeveralOptions,
    }
}

/// Lower case, with one space for every run of white space.
fn folded(text: &str) -> String {
    text.to_lowercase().split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Strikes out a name wherever it stands as whole words; returns whether it stood anywhere.
fn strike(text: &mut String, name: &str) -> bool {
    let part_of_word = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    let mut found = false;
    let mut from = 0;
    while !name.is_empty()
        && let Some(at) = text[from..].find(name).map(|at| from + at)
    {
        let end = at + name.len();
        // A name may itself begin or end with a mark, next to which there is no inside of a word.
        let inside = |edge: Option<char>, beyond: Option<char>| part_of_word(edge) && part_of_word(beyond);
        if inside(name.chars().next(), text[..at].chars().next_back())
            || inside(name.chars().next_back(), text[end..].chars().next())
        {
            from = at + name.chars().next().map_or(1, char::len_utf8);
        } else {
            found = true;
            // Something that is no part of any word or name.
            text.replace_range(at..end, "\0");
            from = at + 1;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(answer: &str, options: [&str; 2]) -> Parsed {
        parse(answer, &["tennis ball"], &options)
    }

    #[test]
    fn one_option_as_whole_words_in_any_case() {
        assert_eq!(read("Cat", ["cat", "dog"]), Parsed::Option(0));
        assert_eq!(read("I'd say the DOG.", ["cat", "dog"]), Parsed::Option(1));
        assert_eq!(read("\"ice\n  cream\"", ["ice cream", "dog"]), Parsed::Option(0));
        assert_eq!(read("hot-air balloon!", ["balloon", "hot-air balloon"]), Parsed::Option(1));
        assert_eq!(read("ÉCLAIR", ["éclair", "pie"]), Parsed::Option(0));
        assert_eq!(read("cat, cat, cat", ["cat", "dog"]), Parsed::Option(0));
        assert_eq!(read("Tennis ball is like a cat", ["cat", "dog"]), Parsed::Option(0));
    }

    #[test]
    fn parts_of_words_are_not_named() {
        assert_eq!(read("category", ["cat", "dog"]), Parsed::NoOption);
        assert_eq!(read("hotdogs", ["cat", "dog"]), Parsed::NoOption);
        assert_eq!(read("concatenate a dog", ["cat", "dog"]), Parsed::Option(1));
        assert_eq!(read("cat_7", ["cat", "dog"]), Parsed::NoOption);
        assert_eq!(read("C++.", ["c++", "dog"]), Parsed::Option(0));
    }

    #[test]
    fn the_longest_name_first() {
        assert_eq!(read("Baseball glove.", ["baseball", "baseball glove"]), Parsed::Option(1));
        assert_eq!(read("baseball", ["baseball glove", "baseball"]), Parsed::Option(1));
        assert_eq!(read("baseball glove or baseball?", ["baseball", "baseball glove"]), Parsed::BothOptions);
        assert_eq!(read("hatchet", ["hat", "hatchet"]), Parsed::Option(1));
        // Inside the anchor's name is not the option.
        let about_gloves = |answer| parse(answer, &["baseball glove"], &["baseball", "balloon"]);
        assert_eq!(about_gloves("baseball glove"), Parsed::NoOption);
        assert_eq!(about_gloves("A baseball glove is like a baseball"), Parsed::Option(0));
    }

    #[test]
    fn what_is_not_an_answer_says_why() {
        assert_eq!(read(" \n ", ["cat", "dog"]), Parsed::Empty);
        assert_eq!(read("cat or dog", ["cat", "dog"]), Parsed::BothOptions);
        assert_eq!(read("neither", ["cat", "dog"]).name(), "unparsed: no option named");
        assert_eq!(read("neither", ["cat", "dog"]).chosen(), None);
        assert_eq!(read("turkey", ["turkey", "Turkey"]), Parsed::BothOptions);
        assert_eq!(read("", ["", "dog"]), Parsed::Empty);
    }

    #[test]
    fn exactly_one_of_three() {
        let read = |answer| parse(answer, &[], &["baseball", "baseball glove", "cat"]);
        assert_eq!(read("The odd one out is the cat."), Parsed::Option(2));
        assert_eq!(read("Baseball glove"), Parsed::Option(1));
        assert_eq!(read("baseball, not the baseball glove"), Parsed::SeveralOptions);
        assert_eq!(read("cat, baseball or baseball glove"), Parsed::SeveralOptions);
        assert_eq!(read("dog").name(), "unparsed: no option named");
        assert_eq!(parse("Turkey", &[], &["cat", "turkey", "Turkey"]), Parsed::SeveralOptions);
    }
}
