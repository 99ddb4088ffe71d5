//! Small templates by hand; real ones are compared with transformers in `tests/it/templates.rs`.

use serde_json::json;

use super::*;
use crate::prompts::template::{Example, Style, Wording};

const CHATML: &str = "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";
const NO_SYSTEM: &str = "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}{% for m in messages %}<start_of_turn>{{ m['role'] if m['role'] != 'assistant' else 'model' }}\n{{ m['content'] | trim }}<end_of_turn>\n{% endfor %}{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}";

fn template(source: &str) -> Result<ChatTemplate> {
    with_options(source, TemplateOptions::new())
}

fn with_options(source: &str, options: TemplateOptions) -> Result<ChatTemplate> {
    ChatTemplate::new(source, Path::new("tokenizer_config.json"), vec![("bos_token".into(), "<bos>".into())], options)
}

fn framed(source: &str) -> Frame {
    let wording = Wording::new("paper", Some("Be kind")).unwrap();
    Frame::new(Style::Chat, &wording, Some(&template(source).unwrap())).unwrap()
}

#[test]
fn chatml_frame() {
    let frame = framed(CHATML);
    assert_eq!(frame.before, "<|im_start|>system\nBe kind<|im_end|>\n<|im_start|>user\n");
    assert_eq!(frame.after, "<|im_end|>\n<|im_start|>assistant\n");
    assert_eq!(frame.closing, "<|im_end|>\n");
    assert_eq!((frame.lead.as_str(), frame.delimiter.as_str(), frame.system), ("", "", SystemText::Kept));
    assert!(!frame.add_special_tokens);
}

#[test]
fn a_refused_system_message_goes_into_the_users() {
    let frame = framed(NO_SYSTEM);
    assert_eq!(frame.system, SystemText::Folded);
    assert_eq!(frame.before, "<bos><start_of_turn>user\nBe kind\n\n");
    assert_eq!(frame.after, "<end_of_turn>\n<start_of_turn>model\n");
    assert_eq!(frame.closing, "<end_of_turn>\n");
}

#[test]
fn examples_are_earlier_turns_or_lines() {
    let example = |answer: &str| Example::Anchored {
        anchor: "cat".into(),
        first: "dog".into(),
        second: "car".into(),
        answer: answer.into(),
    };
    let wording = Wording::new("{anchor}: {first}, {second}?", Some("Be kind")).unwrap();
    let wording = wording.after(vec![example("dog"), example("car")]).unwrap();
    let chat = Frame::new(Style::Chat, &wording, Some(&template(CHATML).unwrap())).unwrap();
    assert_eq!(
        chat.before,
        "<|im_start|>system\nBe kind<|im_end|>\n<|im_start|>user\ncat: dog, car?<|im_end|>\n<|im_start|>assistant\ndog<|im_end|>\n\
         <|im_start|>user\ncat: dog, car?<|im_end|>\n<|im_start|>assistant\ncar<|im_end|>\n<|im_start|>user\n"
    );
    assert_eq!((chat.after.as_str(), chat.closing.as_str()), ("<|im_end|>\n<|im_start|>assistant\n", "<|im_end|>\n"));
    let folded = Frame::new(Style::Chat, &wording, Some(&template(NO_SYSTEM).unwrap())).unwrap();
    assert!(folded.before.starts_with("<bos><start_of_turn>user\nBe kind\n\ncat: dog"), "{}", folded.before);
    assert!(folded.before.ends_with("car<end_of_turn>\n<start_of_turn>user\n"));
    let base = Frame::new(Style::Base, &wording, None).unwrap();
    assert_eq!(base.before, "cat: dog, car? Answer: dog\ncat: dog, car? Answer: car\n");
    let plain = Frame::new(Style::Plain, &wording, None).unwrap();
    assert_eq!(plain.before, "Be kind\ncat: dog, car? dog\ncat: dog, car? car\n");
    let error = Wording::new("paper", None).unwrap().after(vec![example("cow")]).unwrap_err().to_string();
    assert!(error.contains("prompt.few_shot") && error.contains("\"cow\"") && error.contains("\"dog\" or \"car\""));
}

#[test]
fn templates_that_raise_loop_or_do_not_parse_are_named() {
    let wording = Wording::new("paper", None).unwrap();
    let error = |source: &str| {
        template(source).and_then(|t| Frame::new(Style::Chat, &wording, Some(&t))).unwrap_err().to_string()
    };
    assert!(error("{{ raise_exception('only tools here') }}").contains("only tools here"));
    assert!(error("{% for i in range(99999) %}{% for j in range(99999) %}x{% endfor %}{% endfor %}").contains("fuel"));
    assert!(error("{% if %}").contains("tokenizer_config.json"));
    assert!(error("always the same").contains("does not carry the user's message"));
}

#[test]
fn tojson_writes_what_python_writes() {
    let rendered = template("{{ {'a': [1, 'é<'], 'b': none} | tojson }}").unwrap().render(&[], false).unwrap();
    assert_eq!(rendered, "{\"a\": [1, \"é<\"], \"b\": null}");
}

#[test]
fn an_answer_begins_where_the_template_puts_one() {
    // Llama 2 writes a space before an answer, and one after it.
    let spaced = "{% for m in messages %}{{ '[INST] ' + m['content'] + ' [/INST]' if m['role'] != 'assistant' else ' ' + m['content'] + ' </s>' }}{% endfor %}";
    let frame = framed(spaced);
    assert_eq!((frame.after.as_str(), frame.delimiter.as_str(), frame.closing.as_str()), (" [/INST]", " ", " </s>"));
    // GPT-OSS answers in a channel that its generation prompt leaves open; older templates have no generation prompt.
    let channels = "{% for m in messages %}<|start|>{{ m['role'] }}{% if m['role'] == 'assistant' %}<|channel|>final{% endif %}<|message|>{{ m['content'] }}{{ '<|return|>' if m['role'] == 'assistant' else '<|end|>' }}{% endfor %}{% if add_generation_prompt %}<|start|>assistant{% endif %}";
    let frame = framed(channels);
    assert_eq!(frame.after, "<|end|><|start|>assistant<|channel|>final<|message|>");
    assert_eq!((frame.lead.as_str(), frame.closing.as_str()), ("<|channel|>final<|message|>", "<|return|>"));
    let frame = framed(&CHATML.replace("add_generation_prompt", "false"));
    assert_eq!(frame.after, "<|im_end|>\n<|im_start|>assistant\n");
    assert_eq!((frame.lead.as_str(), frame.delimiter.as_str()), ("<|im_start|>assistant\n", ""));
}

#[test]
fn a_system_message_that_is_passed_over_is_told() {
    let frame = framed(
        "{% for m in messages %}{% if m['role'] == 'user' %}<u>{{ m['content'] }}<a>{% elif m['role'] == 'assistant' %}{{ m['content'] }}<e>{% endif %}{% endfor %}",
    );
    assert_eq!((frame.before.as_str(), frame.system), ("<u>", SystemText::Dropped));
    let wording = Wording::new("paper", Some("")).unwrap();
    let frame = Frame::new(Style::Chat, &wording, Some(&template(CHATML).unwrap())).unwrap();
    assert_eq!(frame.system, SystemText::Absent);
}

#[test]
fn options_are_those_that_the_template_reads() {
    let thinking = "{{ messages[-1]['content'] }}{% if enable_thinking is defined and enable_thinking is false %}<think></think>{% endif %}{{ date_string }} {{ effort | default('low') }}{{ strftime_now('%A %-d %B %Y, %Y-%m-%d') }}";
    let shown = |options: Json| {
        let options = serde_json::from_value(options).unwrap();
        let template = with_options(thinking, options).unwrap();
        (template.render(&[("user", "?")], false).unwrap(), json!(template.settings()))
    };
    let day = "Friday 26 July 2024, 2024-07-26";
    let (text, settings) = shown(json!({}));
    assert_eq!(text, format!("?<think></think>26 Jul 2024 low{day}"));
    assert_eq!(settings, json!({"date_string": "26 Jul 2024", "enable_thinking": false, "today": "26 Jul 2024"}));
    let (text, settings) = shown(json!({"enable_thinking": true, "effort": "high", "date_string": "today"}));
    assert_eq!(text, format!("?today high{day}"));
    assert_eq!(settings["effort"], "high");
    assert!(template(CHATML).unwrap().settings().is_empty());

    let options = |name: &str| [(name.to_owned(), json!(true))].into();
    let error = with_options(thinking, options("enable_thinkin")).unwrap_err().to_string();
    assert_eq!(
        error,
        "`template_options.enable_thinkin` is true, expected one that tokenizer_config.json reads: date_string, effort, enable_thinking"
    );
    let error = with_options(CHATML, options("messages")).unwrap_err().to_string();
    assert!(error.ends_with("expected no option: tokenizer_config.json reads none"), "{error}");
    let error = template("{{ strftime_now('%c') }}").unwrap().render(&[], false).unwrap_err().to_string();
    assert!(error.contains("knows no %c"), "{error}");
}

#[test]
fn what_real_templates_do() {
    let render = |source: &str| template(source).unwrap().render(&[("system", " a "), ("user", "b")], true).unwrap();
    // transformers passes tools and documents as none, which is not undefined.
    assert_eq!(render("{{ tools is defined and tools is none and documents is none }}"), "True");
    assert_eq!(render("{% for m in messages[::-1] %}{{ loop.index0 }}{{ m.content.strip() }}{% endfor %}"), "0b1a");
    assert_eq!(
        render("{% set ns = namespace(n=0) %}{% for m in messages %}{% set ns.n = ns.n + 1 %}{% endfor %}{{ ns.n }}"),
        "2"
    );
    assert_eq!(
        render("{% for k, v in messages[0].items() %}{{ k }}={{ v | trim }};{% endfor %}"),
        "role=system;content=a;"
    );
    assert_eq!(
        render("{% for m in messages %}{% if loop.first %}{% continue %}{% endif %}{{ m.content }}{% endfor %}"),
        "b"
    );
    assert_eq!(render("x \n  {%- generation -%}  y{% endgeneration %}\n{% if 1 %}z{% endif %}"), "xyz");
    assert_eq!(render("{{ 'a</think>\n\nb'.split('</think>')[-1].lstrip('\n') }}{{ 'q' in messages[0] }}"), "bFalse");
}

#[test]
fn what_the_engine_does_not_stand_is_an_error() {
    let render = |source: &str| template(source).and_then(|template| template.render(&[("user", "a\nb\n\nc")], true));
    let indented =
        render("{{ messages[0].content | indent(2) }}|{{ messages[0].content | indent(width=1, first=true) }}")
            .unwrap();
    assert_eq!(indented, "a\n  b\n\n  c| a\n b\n\n c");
    assert!(render("{{ 'a' | indent(4294967296) }}").unwrap_err().to_string().contains("more than 1000"));
    // Trees as deep as a source is long, and values that nest as deep as fuel lasts.
    let chain = format!("{{{{ 1{} }}}}", "%7".repeat(32_000));
    assert_eq!(render(&chain).unwrap(), "1");
    assert!(render(&format!("{{{{ {}1 }}}}", "(".repeat(60_000))).is_err());
    let nested = "{% set n = namespace(x=[]) %}{% for i in range(90000) %}{% set n.x = [n.x] %}{% endfor %}done";
    assert_eq!(render(nested).unwrap(), "done");
    let long = "x".repeat(65_537);
    assert!(render(&long).unwrap_err().to_string().contains("at most 65536"));
}
