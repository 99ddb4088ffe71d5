//! One entry of the suite against its row of the table of ingredients.

use std::fmt::Debug;

use serde::Serialize;

use crate::config::nearest;
use crate::error::{Error, Result};
use crate::prompts::chat_template::{ChatTemplate, TemplateOptions};
use crate::prompts::template::Style;
use crate::suite::{Entry, Ingredients, Member, Opened, Precision};

/// The sizes of memory that every entry speaks of: GPUs of 24, 80 and 141 GB.
const SIZES_GB: [u32; 3] = [24, 80, 141];

impl Opened<'_> {
    /// The entry with its row and its faults.
    ///
    /// # Errors
    /// Everything about it that does not hold.
    pub(super) fn member(&self, entry: &Entry, rows: &[Ingredients]) -> Result<Member, Vec<Error>> {
        let fault = |field, found: String, expected: String| self.fault(entry, field, found, expected);
        let Some(row) = rows.iter().find(|row| row.model == entry.row()) else {
            let expected =
                format!("a model of the table of ingredients{}", or(entry.row(), rows.iter().map(|r| &r.model)));
            let field = if entry.row.is_some() { "row" } else { "label" };
            return Err(vec![fault(field, format!("{:?}", entry.row()), expected)]);
        };
        let mut errors: Vec<Error> = crate::store::judgments::check_label(&entry.label).err().into_iter().collect();

        let differing = [
            ("family", differs(&self.family.family, &row.family)),
            ("hub", differs(&entry.hub, &row.hf_id)),
            ("model_type", differs(&entry.model_type, &row.model_type)),
            ("stage", differs(&entry.stage, &row.stage)),
        ];
        for (field, (found, expected)) in differing.into_iter().filter_map(|(field, pair)| Some((field, pair?))) {
            errors.push(fault(field, found, format!("{expected}, as its ingredients say")));
        }
        match self.types.get(&entry.model_type) {
            None => {
                let file = self.family.architectures.display();
                let expected = format!("a type of {file}{}", or(&entry.model_type, self.types.keys()));
                errors.push(fault("model_type", format!("{:?}", entry.model_type), expected));
            }
            Some(kind) => {
                if let Some((found, expected)) = differs(kind, &row.architecture) {
                    let expected = format!("one of kind {expected}, as its ingredients say");
                    errors.push(fault("model_type", format!("of kind {found}"), expected));
                }
            }
        }

        let mut faults = Vec::new();
        for name in &entry.faults {
            match self.family.faults.get(name) {
                Some(fault) => faults.push(fault.clone()),
                None => {
                    let expected = format!("a name under [faults]{}", or(name, self.family.faults.keys()));
                    errors.push(fault("faults", format!("{name:?}"), expected));
                }
            }
        }
        errors.extend(self.template_error(entry));
        if let Some(size) = entry.fits.keys().find(|size| SIZES_GB.iter().all(|gb| gb.to_string() != **size)) {
            errors.push(fault(
                "fits",
                format!("for {size} GB"),
                format!("for {} GB", SIZES_GB.map(|gb| gb.to_string()).join(", ")),
            ));
        }
        for gb in SIZES_GB {
            let name = |precision: Option<Precision>| precision.map_or("nothing", Precision::name);
            let best = Precision::best(row, &faults, f64::from(gb));
            let stated = entry.fits.get(&gb.to_string()).copied();
            if stated != best {
                let takes =
                    stated.map(|p| format!(": {} takes {:.1} GB", p.name(), p.needed_gb(row))).unwrap_or_default();
                errors.push(fault("fits", format!("{} in {gb} GB", name(stated)), format!("{}{takes}", name(best))));
            }
        }
        if errors.is_empty() {
            Ok(Member { entry: entry.clone(), ingredients: row.clone(), faults })
        } else {
            Err(errors)
        }
    }

    /// What is wrong with the chat template that an entry brings.
    fn template_error(&self, entry: &Entry) -> Option<Error> {
        let file = self.path.with_file_name(entry.chat_template.as_ref()?);
        if entry.style != Style::Chat {
            return Some(self.fault(entry, "style", entry.style.to_string(), "chat, as it has a chat template".into()));
        }
        let text = fs_err::read_to_string(&file).map_err(Error::from);
        text.and_then(|text| ChatTemplate::new(&text, &file, Vec::new(), TemplateOptions::new())).err()
    }
}

/// Two values in words, where they differ.
fn differs<T: PartialEq + Serialize + Debug>(found: &T, expected: &T) -> Option<(String, String)> {
    let told = |value: &T| serde_json::to_string(value).unwrap_or_else(|_| format!("{value:?}"));
    (found != expected).then(|| (told(found), told(expected)))
}

/// `; "llama"?` where a known name is spelled alike.
fn or<'a>(name: &str, known: impl Iterator<Item = &'a String>) -> String {
    nearest(name, known.map(String::as_str)).map(|known| format!("; {known:?}?")).unwrap_or_default()
}
