//! Which ingredients matter with the others held fixed.

use super::asked::named;
use super::axes::{extent, roomy};
use super::dots::{Axis, Dot, dot_panel};
use crate::report::csv::{finite, to_csv};
use crate::report::data::{Effect, ReportData};
use crate::report::figure::{Figure, Part};
use crate::report::names::response_title;
use crate::report::numbers::{count, decimals, p_value};

const INTERCEPT: &str = "(Intercept)";

/// The fixed effects of the mixed model with their intervals.
pub(in crate::report) fn figure(data: &ReportData) -> Option<Figure> {
    let ingredients = data.ingredients.as_ref()?;
    let formula = ingredients.asked.formula.as_ref()?;
    let effects: Vec<&Effect> =
        ingredients.effects.iter().filter(|effect| effect.term != INTERCEPT && effect.value.is_finite()).collect();
    let ends = effects.iter().flat_map(|effect| {
        let (lo, hi) = effect.interval.unwrap_or((effect.value, effect.value));
        [lo, hi, 0.0]
    });
    let domain = roomy(extent(ends)?, false);
    let response = response_title(&ingredients.asked);
    let dots: Vec<Dot> = effects
        .iter()
        .map(|effect| Dot {
            label: &effect.term,
            value: Some(effect.value),
            interval: effect.interval,
            at_end: Some(p_value(effect.p_holm)),
            details: details(effect),
            ..Dot::default()
        })
        .collect();
    let axis = Axis {
        title: format!("effect on {response}, n = {} models", count(ingredients.n_fitted)),
        domain,
        log: false,
        line: Some(0.0),
        format: |v| decimals(v, 3),
        tick: None,
    };
    let one_line: Vec<&str> = formula.split_whitespace().collect();
    let without: Vec<&str> = ingredients.not_fitted.iter().map(|(model, _)| model.as_str()).collect();
    let without = match without.as_slice() {
        [] => String::new(),
        names => format!(" Left out for want of a cell – {}.", named(names)),
    };
    Some(Figure {
        name: "effects",
        part: Part::Ingredients,
        title: "Which ingredients matter, the others held fixed".into(),
        caption: format!(
            "Fixed effects of the mixed model {} by restricted maximum likelihood, {} models. z(…): what one standard deviation more is \
             worth, in {response}; column[level]: what that level is worth beside the first. Lines are 95 % intervals by Student’s t with \
             Satterthwaite’s degrees of freedom; at the right is p, adjusted for the number of effects (Holm). The dashed line is no effect. \
             The intercept is not drawn.{without} An effect is an association across these models, not what would come of changing one.",
            one_line.join(" "),
            count(ingredients.n_fitted),
        ),
        csv: to_csv(
            &["term", "value", "lo", "hi", "p", "p_holm"],
            effects.iter().map(|effect| {
                let (lo, hi) = effect.interval.unzip();
                (&effect.term, effect.value, lo.and_then(finite), hi.and_then(finite), effect.p, effect.p_holm)
            }),
        ),
        panels: vec![dot_panel(
            "effects-0".into(),
            "Effect with 95 % interval; p (Holm) at the right".into(),
            &dots,
            &axis,
        )],
        columns: 2,
        ..Figure::default()
    })
}

fn details(effect: &Effect) -> String {
    let interval = effect.interval.map(|(lo, hi)| format!(" ({} to {})", decimals(Some(lo), 3), decimals(Some(hi), 3)));
    format!(
        "{}{}, p {}, Holm {}",
        decimals(Some(effect.value), 3),
        interval.unwrap_or_default(),
        p_value(effect.p),
        p_value(effect.p_holm)
    )
}
