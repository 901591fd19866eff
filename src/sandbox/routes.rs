//! Routes whose handlers have their state already. For axum, all of them are of one type: its part of a route would
//! otherwise be compiled for each handler and each state, 4 KB of the binary a route.

use std::fmt;
use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::handler::Handler;
use axum::response::Response;
use axum::routing::{MethodFilter, on};
use futures_util::future::BoxFuture;

/// A handler with its state.
#[derive(Clone)]
struct BoundHandler(Arc<dyn Fn(Request) -> BoxFuture<'static, Response> + Send + Sync>);

impl Handler<(), ()> for BoundHandler {
    type Future = BoxFuture<'static, Response>;

    fn call(self, request: Request, (): ()) -> Self::Future {
        (self.0)(request)
    }
}

/// The routes of one part of the sandbox, whose handlers share a state.
pub struct Routes<S> {
    state: S,
    router: Router,
}

impl<S: Clone + Send + Sync + 'static> Routes<S> {
    pub fn new(state: S) -> Self {
        Self {
            state,
            router: Router::new(),
        }
    }

    pub fn get<T>(self, path: &str, handler: impl BoxedHandler<T, S>) -> Self {
        self.on(MethodFilter::GET, path, handler)
    }

    pub fn post<T>(self, path: &str, handler: impl BoxedHandler<T, S>) -> Self {
        self.on(MethodFilter::POST, path, handler)
    }

    pub fn put<T>(self, path: &str, handler: impl BoxedHandler<T, S>) -> Self {
        self.on(MethodFilter::PUT, path, handler)
    }

    pub fn patch<T>(self, path: &str, handler: impl BoxedHandler<T, S>) -> Self {
        self.on(MethodFilter::PATCH, path, handler)
    }

    pub fn delete<T>(self, path: &str, handler: impl BoxedHandler<T, S>) -> Self {
        self.on(MethodFilter::DELETE, path, handler)
    }

    fn on<T>(self, method: MethodFilter, path: &str, handler: impl BoxedHandler<T, S>) -> Self {
        let Self { state, router } = self;
        let own = state.clone();
        let call = move |request| handler.clone().call(request, own.clone());
        let router = with_route(router, method, path, BoundHandler(Arc::new(call)));
        Self { state, router }
    }

    pub fn into_router(self) -> Router {
        self.router
    }
}

impl<S> fmt::Debug for Routes<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Routes").finish_non_exhaustive()
    }
}

/// Several methods of one path may be added one by one.
fn with_route(router: Router, method: MethodFilter, path: &str, handler: BoundHandler) -> Router {
    router.route(path, on(method, handler))
}

/// What axum makes of a function: a handler with a boxed future.
pub trait BoxedHandler<T, S>: Handler<T, S, Future = BoxFuture<'static, Response>> + Sync {}

impl<T, S, H: Handler<T, S, Future = BoxFuture<'static, Response>> + Sync> BoxedHandler<T, S>
    for H
{
}
