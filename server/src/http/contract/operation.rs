//! What is told of one operation: who may call it, with what, and every answer that it gives.

use actix_web::http::Method;
use rollout_rules::governance::Scope;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::Value;

use crate::http::problem::{self, Kind};

/// Makes the schema of a type, or a reference to it.
pub(super) type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

/// The schema of a type.
pub(super) fn of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

/// Every scope there is.
pub(super) const ALL: &[Scope] = &[
    Scope::Admin,
    Scope::Operator,
    Scope::Editor,
    Scope::Viewer,
    Scope::Ci,
    Scope::SdkServer,
    Scope::SdkBrowser,
];
/// Those that read definitions.
pub(super) const READERS: &[Scope] =
    &[Scope::Admin, Scope::Operator, Scope::Editor, Scope::Viewer, Scope::Ci];
/// Those that follow the feed, which carries the rules.
pub(super) const FOLLOWERS: &[Scope] =
    &[Scope::Admin, Scope::Operator, Scope::Editor, Scope::Viewer, Scope::Ci, Scope::SdkServer];
/// Those of web pages.
pub(super) const BROWSERS: &[Scope] = &[Scope::SdkBrowser];
/// Those that change flags.
pub(super) const CHANGERS: &[Scope] = &[Scope::Admin, Scope::Operator, Scope::Editor, Scope::Ci];
/// Those that change what an app is made of.
pub(super) const SHAPERS: &[Scope] = &[Scope::Admin, Scope::Operator, Scope::Editor];
/// Those that change what is above apps.
pub(super) const OPERATORS: &[Scope] = &[Scope::Admin, Scope::Operator];
/// Those that see and make tokens.
pub(super) const ADMINS: &[Scope] = &[Scope::Admin];

/// Who may call an operation.
#[derive(Clone, Copy)]
pub(super) enum Access {
    /// Whoever reaches the server.
    Open,
    /// Tokens of these scopes, within what they are bound to.
    Scopes(&'static [Scope]),
    /// Whoever the settings let in; else tokens of these scopes.
    OpenOr(&'static [Scope]),
    /// Whoever holds the short-lived token in the address.
    Signed,
    /// The page that holds its short-lived token, which an opened page is given in addresses.
    Page,
}

/// A parameter of the query or a header.
pub(super) struct Parameter {
    pub(super) name: &'static str,
    pub(super) place: &'static str,
    pub(super) required: bool,
    pub(super) about: String,
    pub(super) schema: SchemaOf,
}

/// A body: JSON, or a form with JSON in its first part.
pub(super) struct Body {
    pub(super) required: bool,
    pub(super) schema: SchemaOf,
    pub(super) example: Value,
    /// The files of a form, if it is one.
    pub(super) files: Option<Files>,
}

/// The files that come with a form, after its part `request`.
#[derive(Clone, Copy)]
pub(super) struct Files {
    /// What each part is called.
    pub(super) part: &'static str,
    /// How many there may be.
    pub(super) most: usize,
}

/// An answer that is no problem.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) about: &'static str,
    /// The media type, the schema and an example; none: no body.
    pub(super) content: Option<(&'static str, SchemaOf, Value)>,
    pub(super) headers: Vec<&'static str>,
    /// The media type of the same for browsers, if there is one.
    pub(super) also: Option<&'static str>,
}

/// One operation.
pub(super) struct Operation {
    pub(super) method: Method,
    pub(super) path: String,
    /// Its name in generated clients: snake case.
    pub(super) id: String,
    pub(super) tag: &'static str,
    pub(super) title: String,
    pub(super) about: String,
    pub(super) access: Access,
    pub(super) parameters: Vec<Parameter>,
    pub(super) body: Option<Body>,
    pub(super) answers: Vec<Answer>,
    pub(super) problems: Vec<&'static Kind>,
    /// The form of the data of its events, if they are JSON.
    pub(super) events: Option<SchemaOf>,
}

const JSON: &str = "application/json";

impl Operation {
    /// An operation that nobody may call yet. Any may fail inside, or come when the server is busy;
    /// and the same path with another method is refused.
    pub(super) fn new(method: Method, path: impl Into<String>, id: impl Into<String>) -> Operation {
        let path = path.into();
        let mut problems =
            vec![problem::INTERNAL, problem::BUSY, problem::NOT_READY, problem::METHOD_NOT_ALLOWED];
        if path.contains('{') && !path.starts_with("/ofrep/") {
            // Names in paths that have not the form of their kind name nothing.
            problems.push(problem::NOT_FOUND);
        }
        Operation {
            method,
            path,
            id: id.into(),
            tag: "",
            title: String::new(),
            about: String::new(),
            access: Access::Scopes(&[]),
            parameters: Vec::new(),
            body: None,
            answers: Vec::new(),
            problems,
            events: None,
        }
    }

    /// In a few words.
    pub(super) fn title(mut self, title: impl Into<String>) -> Operation {
        self.title = title.into();
        self
    }

    /// In a few sentences.
    pub(super) fn about(mut self, about: impl Into<String>) -> Operation {
        self.about = about.into();
        self
    }

    /// Who may call it.
    pub(super) fn by(mut self, scopes: &'static [Scope]) -> Operation {
        self.access = Access::Scopes(scopes);
        self.with_token()
            .header("Tidegate-Agent", false, "Names the agent that acts with the token")
            .header(
                "Tidegate-Agent-Work",
                false,
                "What the agent's act came from: the SHA-256 of its prompt, the files it wrote (at most 20; `more-files` says how \
                 many more), who looked at them. Names of at most 200 bytes, in which `;`, `%` and letters beyond ASCII are \
                 written as %XX. It is kept and shown as the agent says it, and nothing is decided by it. People and pipelines \
                 that send it are refused; where a pipeline's own token from its issuer says who asks, both headers count for nothing",
            )
    }

    /// Nothing is done in somebody's name, so no agent says that it does it.
    pub(super) fn without_agents(mut self) -> Operation {
        self.parameters.retain(|parameter| !parameter.name.starts_with("Tidegate-Agent"));
        self
    }

    /// Open to whoever the settings say, else to tokens.
    pub(super) fn open_or(mut self, scopes: &'static [Scope]) -> Operation {
        self.access = Access::OpenOr(scopes);
        self.with_token()
    }

    fn with_token(self) -> Operation {
        self.refused(&[
            problem::UNAUTHENTICATED,
            problem::NOT_ALLOWED,
            problem::ORIGIN_NOT_ALLOWED,
            problem::INVALID_PARAMETER,
            problem::RATE_LIMITED,
            problem::TOO_MANY_FAILED_LOGINS,
        ])
    }

    /// Open to everybody.
    pub(super) fn open(mut self) -> Operation {
        self.access = Access::Open;
        self
    }

    /// Open to whoever holds the token in the address.
    pub(super) fn signed(mut self) -> Operation {
        self.access = Access::Signed;
        self.refused(&[
            problem::UNAUTHENTICATED,
            problem::ORIGIN_NOT_ALLOWED,
            problem::INVALID_PARAMETER,
            problem::TOO_MANY_FAILED_LOGINS,
        ])
    }

    /// Open to the page that holds the token in the address.
    pub(super) fn of_page(mut self) -> Operation {
        self.access = Access::Page;
        self.refused(&[
            problem::UNAUTHENTICATED,
            problem::INVALID_PARAMETER,
            problem::ORIGIN_NOT_ALLOWED,
            problem::PAGE_GONE,
        ])
    }

    /// Takes a parameter in the query.
    pub(super) fn query<T: JsonSchema>(mut self, name: &'static str, about: impl Into<String>) -> Operation {
        let about = about.into();
        self.parameters.push(Parameter { name, place: "query", required: false, about, schema: of::<T> });
        self
    }

    /// Takes a parameter in the query that has to be there.
    pub(super) fn query_needed<T: JsonSchema>(
        self,
        name: &'static str,
        about: impl Into<String>,
    ) -> Operation {
        let mut operation = self.query::<T>(name, about);
        operation
            .parameters
            .iter_mut()
            .filter(|known| known.name == name)
            .for_each(|known| known.required = true);
        operation.refused(&[problem::INVALID_PARAMETER])
    }

    /// Takes a header.
    pub(super) fn header(mut self, name: &'static str, required: bool, about: &str) -> Operation {
        let about = about.to_owned();
        self.parameters.push(Parameter { name, place: "header", required, about, schema: of::<String> });
        self
    }

    /// Names the app and the environment where the token leaves them open.
    pub(super) fn audience(self) -> Operation {
        self.query::<rollout_rules::ids::AppKey>("app", "The app, if the token is bound to none.")
            .query::<rollout_rules::ids::EnvKey>(
                "environment",
                "The environment, if the token is bound to none.",
            )
            .refused(&[problem::AUDIENCE_MISSING, problem::INVALID_PARAMETER])
    }

    /// Takes a body that has to be there.
    pub(super) fn body<T: JsonSchema>(mut self, example: Value) -> Operation {
        self.body = Some(Body { required: true, schema: of::<T>, example, files: None });
        self.refused(&[
            problem::INVALID_JSON,
            problem::INVALID_BODY,
            problem::TOO_LARGE,
            problem::UNSUPPORTED_MEDIA_TYPE,
            problem::REQUEST_TIMEOUT,
        ])
    }

    /// Takes a form: a part `request` with JSON, then files.
    pub(super) fn form<T: JsonSchema>(mut self, example: Value, files: Files) -> Operation {
        self.body = Some(Body { required: true, schema: of::<T>, example, files: Some(files) });
        self.refused(&[
            problem::INVALID_JSON,
            problem::INVALID_BODY,
            problem::TOO_LARGE,
            problem::REQUEST_TIMEOUT,
        ])
    }

    /// Takes a body that may be left out.
    pub(super) fn optional_body<T: JsonSchema>(self, example: Value) -> Operation {
        let mut operation = self.body::<T>(example);
        operation.body.iter_mut().for_each(|body| body.required = false);
        operation
    }

    /// Answers with JSON.
    pub(super) fn answers<T: JsonSchema>(
        mut self,
        status: u16,
        about: &'static str,
        example: Value,
    ) -> Operation {
        let content = Some((JSON, of::<T> as SchemaOf, example));
        self.answers.push(Answer { status, about, content, headers: Vec::new(), also: None });
        self
    }

    /// Answers with text of another kind.
    pub(super) fn answers_text(
        mut self,
        about: &'static str,
        media: &'static str,
        example: &str,
    ) -> Operation {
        let content = Some((media, of::<String> as SchemaOf, example.into()));
        self.answers.push(Answer { status: 200, about, content, headers: Vec::new(), also: None });
        self
    }

    /// Answers with server-sent events whose data has this form.
    pub(super) fn answers_events<T: JsonSchema>(mut self, about: &'static str, example: &str) -> Operation {
        self.events = Some(of::<T>);
        self.answers_text(about, "text/event-stream", example)
    }

    /// Answers without a body.
    pub(super) fn answers_nothing(mut self, status: u16, about: &'static str) -> Operation {
        self.answers.push(Answer { status, about, content: None, headers: Vec::new(), also: None });
        self
    }

    /// The last answer named also comes as text of this kind, to whoever asks for it.
    pub(super) fn also_as(mut self, media: &'static str) -> Operation {
        if let Some(answer) = self.answers.last_mut() {
            answer.also = Some(media);
        }
        self
    }

    /// The last answer named bears this header.
    pub(super) fn with_header(mut self, name: &'static str) -> Operation {
        if let Some(answer) = self.answers.last_mut() {
            answer.headers.push(name);
        }
        self
    }

    /// May be refused so.
    pub(super) fn refused(mut self, kinds: &[&'static Kind]) -> Operation {
        for kind in kinds {
            if !self.problems.contains(kind) {
                self.problems.push(kind);
            }
        }
        self
    }

    /// A list, a page at a time.
    pub(super) fn page(self) -> Operation {
        let most = crate::http::paging::MAX_LIMIT;
        let usual = crate::http::paging::DEFAULT_LIMIT;
        self.query::<super::views::Limit>(
            "limit",
            format!("Items of a page: 1 to {most}, {usual} if not said."),
        )
        .query::<String>("cursor", "After this item: the `next_cursor` of the page before.")
        .refused(&[problem::INVALID_PARAMETER])
    }

    /// A change: what every command may be refused with, and the headers that it may carry.
    pub(super) fn change(self) -> Operation {
        self.header("Idempotency-Key", false, "The caller's name for the request")
            .header("Tidegate-Plan", false, "The import that the change is part of")
            .header("If-Match", false, "The revision that was seen, as `ETag` gave it")
            .refused(&[
                problem::INVALID_PARAMETER,
                problem::INVALID,
                problem::NOT_FOUND,
                problem::IDEMPOTENCY_KEY_TAKEN,
                problem::STALE,
                problem::TOO_LARGE,
                problem::TOO_MANY,
                problem::LOG_UNAVAILABLE,
                problem::OUTCOME_UNKNOWN,
                problem::LOG_FULL,
            ])
    }
}
