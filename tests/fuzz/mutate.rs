//! Files that are almost right: committed ones, changed in a few places by a seeded hand.

use rand::RngExt;
use rand::rngs::ChaCha12Rng;

/// Longer files are cut.
const MAX_BYTES: usize = 128 << 10;

/// Pieces that formats here are made of, and numbers at which sizes go wrong.
const WORDS: &[&str] = &[
    "\"",
    "'",
    ",",
    "\n",
    "\r\n",
    "\t",
    "\0",
    "{",
    "}",
    "[",
    "]",
    "(",
    ")",
    "=",
    ":",
    "|",
    "||",
    "~",
    "+",
    "*",
    "-",
    "0",
    "1",
    "-1",
    "`",
    "99999999999999999999",
    "18446744073709551615",
    "9223372036854775807",
    "-9223372036854775808",
    "4294967295",
    "2147483648",
    "1e308",
    "1e-400",
    "nan",
    "NaN",
    "inf",
    "-inf",
    "null",
    "true",
    "false",
    "{}",
    "[]",
    "\"\"",
    "\u{feff}",
    "\u{202e}",
    "é",
    "İ",
    "ß",
    "👩‍🚀",
    "\u{1b}[31m",
    "<|im_start|>",
    "<|im_end|>",
    "</s>",
    "concept",
    "category",
    "things_id",
    "anchor,first,second,chosen",
    "a,b,c,odd",
    "weight",
    "d00",
    "model",
    "uniqueID\t",
    "[study]\n",
    "[[models]]\n",
    "[triplets]\n",
    "[embed]\n",
    "[regress]\n",
    "path = ",
    "name = ",
    "n = ",
    "dims = ",
    "loss = ",
    "\"\"\"",
    "'''",
    "../",
    "/",
    "# ",
    "{% ",
    " %}",
    "{{ ",
    " }}",
    "{# ",
    "{%- ",
    "-%}",
    "for m in messages",
    "endfor",
    "if ",
    "endif",
    "else",
    "set x = ",
    "set ns = namespace(s='a')",
    "set ns.s = ns.s ~ ns.s",
    "macro f(x)",
    "endmacro",
    "f(1)",
    "range(99999)",
    "* 99999",
    "loop",
    "loop(x)",
    "recursive",
    "messages",
    "message['content']",
    "|length",
    "|join",
    "|tojson",
    "|list",
    "|replace('a', 'bb')",
    "|indent(99999)",
    "|batch(1)",
    "|slice(9)",
    ".strip()",
    ".split('x')",
    ".format(1)",
    "[::-1]",
    "[1:]",
    "is defined",
    "raise_exception('x')",
    "strftime_now('%Y')",
    "add_generation_prompt",
    "bos_token",
    "\"prompt\": ",
    "\"choices\": ",
    "\"messages\": ",
    "\"content\": ",
    "\"type\": ",
    "\"vocab\": ",
    "\"merges\": ",
    "\"Regex\": \"(a|b)+$\"",
    "\"pattern\": ",
    "\"Split\"",
    "\"ByteLevel\"",
    "\"Unigram\"",
    "\"WordPiece\"",
    "\"BPE\"",
    "\"Precompiled\"",
    "\"Replace\"",
    "\"Strip\"",
    "\"added_tokens\": ",
    "\"id\": ",
    "\"special\": true",
    "\"chat_template\": ",
    "\"eos_token_id\": ",
    "\"template_options\": ",
    "\"num_hidden_layers\": ",
    "\"num_attention_heads\": ",
    "\"hidden_size\": ",
    "z(",
    "log2(",
    "C(",
    "(1 | family)",
    "(1 + x || family)",
    "x:y",
    "a*x",
    "r2 ~ ",
    "<f8",
    "|O",
    "(2, 3)",
    "(99999999999, 99999999999)",
    "PAR1",
    "\\u0000",
    "\\ud800",
    "baseball glove",
];

/// Case number `case` of a reader: the same for the same seeds.
pub(crate) fn mutated(seeds: &[Vec<u8>], rng: &mut ChaCha12Rng) -> Vec<u8> {
    let any = |rng: &mut ChaCha12Rng| seeds[rng.random_range(0..seeds.len())].clone();
    let mut bytes = if rng.random_range(0..32) == 0 { Vec::new() } else { any(rng) };
    // Most changes are few: a file that is wrong in many places is refused at the first.
    for _ in 0..1 << rng.random_range(0..5) {
        change(&mut bytes, seeds, rng);
    }
    bytes.truncate(MAX_BYTES);
    bytes
}

fn change(bytes: &mut Vec<u8>, seeds: &[Vec<u8>], rng: &mut ChaCha12Rng) {
    let at = rng.random_range(0..=bytes.len());
    // Mostly short, now and then the whole rest.
    let longest = bytes.len() - at;
    let n = longest.min(1 << rng.random_range(0..18_u32)).min(rng.random_range(0..=longest));
    match rng.random_range(0..13) {
        0 if at < bytes.len() => bytes[at] ^= 1 << rng.random_range(0..8),
        1 if at < bytes.len() => bytes[at] = rng.random(),
        2 => bytes.truncate(at),
        3 => drop(bytes.drain(at..at + n)),
        4 => {
            let piece = bytes[at..at + n].to_vec();
            bytes.splice(at..at, piece);
        }
        5 => {
            // The same again and again: nesting, long lines, many rows.
            let piece = bytes[at..at + n.min(64)].to_vec();
            let times = rng.random_range(1..2000).min(MAX_BYTES / piece.len().max(1));
            bytes.splice(at..at, piece.repeat(times));
        }
        6 => {
            let other = &seeds[rng.random_range(0..seeds.len())];
            let from = rng.random_range(0..=other.len());
            let to = rng.random_range(from..=other.len()).min(from + 4096);
            bytes.splice(at..at + n.min(64), other[from..to].iter().copied());
        }
        7 => {
            let value =
                [0, 1, 0x7f, 0x80, 0xff, 0xffff, 0x7fff_ffff, 0xffff_ffff, u64::MAX, 1 << 40][rng.random_range(0..10)];
            let width = [1, 2, 4, 8][rng.random_range(0..4)].min(longest);
            bytes[at..at + width].copy_from_slice(&value.to_le_bytes()[..width]);
        }
        8 => {
            // A number of the text becomes another one.
            if let Some(start) = bytes[at..].iter().position(u8::is_ascii_digit).map(|found| at + found) {
                let len = bytes[start..].iter().take_while(|b| b.is_ascii_digit()).count();
                let number =
                    ["0", "-1", "1", "99999999999999999999", "4294967296", "1e999", "65537"][rng.random_range(0..7)];
                bytes.splice(start..start + len, number.bytes());
            }
        }
        9 => {
            let word = WORDS[rng.random_range(0..WORDS.len())];
            bytes.splice(at..at + n.min(word.len()), word.bytes());
        }
        _ => {
            let word = WORDS[rng.random_range(0..WORDS.len())];
            bytes.splice(at..at, word.bytes());
        }
    }
}
