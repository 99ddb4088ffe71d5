//! What a free answer says: which of two options it names.

/// How an answer was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parsed {
    /// It names the first option and not the second.
    First,
    /// It names the second option and not the first.
    Second,
    /// It names neither option.
    NoOption,
    /// It names both.
    BothOptions,
    /// It says nothing.
    Empty,
}

impl Parsed {
    /// As the column `parse` has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::First | Self::Second => "parsed",
            Self::NoOption => "unparsed: no option named",
            Self::BothOptions => "unparsed: both options named",
            Self::Empty => "unparsed: empty",
        }
    }

    /// Whether the first option was chosen; `None` when the answer does not say.
    pub fn chose_first(self) -> Option<bool> {
        match self {
            Self::First => Some(true),
            Self::Second => Some(false),
            _ => None,
        }
    }
}

/// Reads an answer: whole words, whatever their case, the longest name first, so that "baseball glove" does not also name
/// "baseball". The anchor may be named too; where an option stands inside its name, that is not naming the option.
pub fn parse(answer: &str, anchor: &str, options: [&str; 2]) -> Parsed {
    let mut text = folded(answer);
    if text.is_empty() {
        return Parsed::Empty;
    }
    let names = [folded(options[0]), folded(options[1]), folded(anchor)];
    let mut order = [0, 1, 2];
    order.sort_by_key(|i| std::cmp::Reverse(names[*i].len()));
    let mut named = [false; 3];
    for i in order {
        named[i] = strike(&mut text, &names[i]);
    }
    if names[0] == names[1] {
        // Names that differ in case only cannot be told apart.
        named[1] = named[0] || named[1];
        named[0] = named[1];
    }
    match named {
        [true, true, _] => Parsed::BothOptions,
        [true, false, _] => Parsed::First,
        [false, true, _] => Parsed::Second,
        [false, false, _] => Parsed::NoOption,
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
        parse(answer, "tennis ball", options)
    }

    #[test]
    fn one_option_as_whole_words_in_any_case() {
        assert_eq!(read("Cat", ["cat", "dog"]), Parsed::First);
        assert_eq!(read("I'd say the DOG.", ["cat", "dog"]), Parsed::Second);
        assert_eq!(read("\"ice\n  cream\"", ["ice cream", "dog"]), Parsed::First);
        assert_eq!(read("hot-air balloon!", ["balloon", "hot-air balloon"]), Parsed::Second);
        assert_eq!(read("ÉCLAIR", ["éclair", "pie"]), Parsed::First);
        assert_eq!(read("cat, cat, cat", ["cat", "dog"]), Parsed::First);
        assert_eq!(read("Tennis ball is like a cat", ["cat", "dog"]), Parsed::First);
    }

    #[test]
    fn parts_of_words_are_not_named() {
        assert_eq!(read("category", ["cat", "dog"]), Parsed::NoOption);
        assert_eq!(read("hotdogs", ["cat", "dog"]), Parsed::NoOption);
        assert_eq!(read("concatenate a dog", ["cat", "dog"]), Parsed::Second);
        assert_eq!(read("cat_7", ["cat", "dog"]), Parsed::NoOption);
        assert_eq!(read("C++.", ["c++", "dog"]), Parsed::First);
    }

    #[test]
    fn the_longest_name_first() {
        assert_eq!(read("Baseball glove.", ["baseball", "baseball glove"]), Parsed::Second);
        assert_eq!(read("baseball", ["baseball glove", "baseball"]), Parsed::Second);
        assert_eq!(read("baseball glove or baseball?", ["baseball", "baseball glove"]), Parsed::BothOptions);
        assert_eq!(read("hatchet", ["hat", "hatchet"]), Parsed::Second);
        // Inside the anchor's name is not the option.
        let about_gloves = |answer| parse(answer, "baseball glove", ["baseball", "balloon"]);
        assert_eq!(about_gloves("baseball glove"), Parsed::NoOption);
        assert_eq!(about_gloves("A baseball glove is like a baseball"), Parsed::First);
    }

    #[test]
    fn what_is_not_an_answer_says_why() {
        assert_eq!(read(" \n ", ["cat", "dog"]), Parsed::Empty);
        assert_eq!(read("cat or dog", ["cat", "dog"]), Parsed::BothOptions);
        assert_eq!(read("neither", ["cat", "dog"]).name(), "unparsed: no option named");
        assert_eq!(read("neither", ["cat", "dog"]).chose_first(), None);
        assert_eq!(read("turkey", ["turkey", "Turkey"]), Parsed::BothOptions);
        assert_eq!(read("", ["", "dog"]), Parsed::Empty);
    }
}
