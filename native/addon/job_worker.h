#pragma once
// The one async-worker template: every call that may take time runs through it, on a thread of its own.
//
// A Work is a plain struct made on the JS thread from plain values:
//   void run(Job &)                  own thread; no JS value may be touched; throws traitscope::Error
//   Napi::Value result(Napi::Env)    JS thread, after run() succeeded
// It may have an Event, which then reaches the progress callback instead of a fraction:
//   std::function<void(Event)> emit  own thread; set here, empty where nobody listens
//   static Napi::Value to_js(Napi::Env, const Event &)
//
// Why not libuv's pool: a pass can take minutes and would hold one of four threads that file reads need too,
// and Node waits for pool work before it lets an environment clean up. A thread of our own can be cancelled
// and joined by the environment's cleanup hook, so a terminated worker thread waits milliseconds.
// process.exit() runs no such hook: for it RunningJobs is stopped from JavaScript's 'exit' event.

#include "core/job.h"

#include <chrono>
#include <memory>
#include <napi.h>
#include <new>
#include <string>
#include <system_error>
#include <thread>
#include <type_traits>
#include <utility>

namespace traitscope::addon {

Napi::Error coded_error(Napi::Env env, const std::string & code, const std::string & message);

template <typename Work, typename = void> struct HasEvent : std::false_type {};
template <typename Work> struct HasEvent<Work, std::void_t<typename Work::Event>> : std::true_type {};

template <typename Work> class JobWorker {
  public:
    /// JS thread. `owner` stays referenced until the promise is settled.
    static Napi::Promise start(Napi::Env env, Work work, CancelFlag cancel, const Napi::Value & progress,
                               const Napi::Object & owner) {
        auto * worker =
            new JobWorker(env, std::move(work), std::move(cancel), progress, owner); // deleted by end()
        const Napi::Promise promise = worker->deferred_.Promise();
        // Registered after the thread-safe function, hence run before that is torn down.
        napi_add_env_cleanup_hook(env, on_cleanup, worker);
        RunningJobs::instance().enter(worker->job_.cancel);
        try {
            worker->thread_ = std::thread([worker] { worker->run(); });
        } catch (const std::system_error &) { // no memory or no process slot for a thread
            RunningJobs::instance().leave(worker->job_.cancel);
            worker->fail("OUT_OF_MEMORY", "no thread could be started for the work");
            worker->to_js_.Release();
            worker->settle(env);
        }
        return promise;
    }

  private:
    JobWorker(Napi::Env env, Work work, CancelFlag cancel, const Napi::Value & progress,
              const Napi::Object & owner)
        : deferred_(env), work_(std::move(work)), owner_(Napi::Persistent(owner)) {
        const bool reports = !progress.IsEmpty() && progress.IsFunction();
        const auto callback = reports ? progress.As<Napi::Function>()
                                      : Napi::Function::New(env, [](const Napi::CallbackInfo &) {});
        to_js_ = Napi::ThreadSafeFunction::New(env, callback, "traitscope", 0, 1);
        job_.cancel = std::move(cancel);
        if (reports) {
            job_.progress = [this](double fraction) { report(fraction); };
            listen();
        }
    }

    // Own thread.
    void run() {
        try {
            work_.run(job_);
            code_.clear();
        } catch (const Error & error) {
            fail(code_name(error.code()), error.what());
        } catch (const std::bad_alloc &) {
            fail("OUT_OF_MEMORY", "not enough memory");
        } catch (const std::exception & error) {
            fail("INTERNAL", error.what());
        }
        // Refused when the environment is closing; then the cleanup hook joins and deletes.
        to_js_.NonBlockingCall([this](Napi::Env env, const Napi::Function &) { settle(env); });
        to_js_.Release();
        RunningJobs::instance().leave(job_.cancel);
    }

    // Own thread. At most every 50 ms plus the last one; a report that is lost does no harm.
    void report(double fraction) {
        const auto now = std::chrono::steady_clock::now();
        if (fraction < 1.0 && now - last_report_ < std::chrono::milliseconds(50)) {
            return;
        }
        last_report_ = now;
        to_js_.NonBlockingCall([fraction](Napi::Env env, const Napi::Function & callback) {
            callback.Call({Napi::Number::New(env, fraction)});
        });
    }

    void listen() {
        if constexpr (HasEvent<Work>::value) {
            work_.emit = [this](typename Work::Event event) {
                const auto shared = std::make_shared<typename Work::Event>(std::move(event));
                to_js_.NonBlockingCall([shared](Napi::Env env, const Napi::Function & callback) {
                    try {
                        callback.Call({Work::to_js(env, *shared)});
                    } catch (const Napi::Error &) {
                        // The environment is terminating: nobody is left to hear of it.
                    }
                });
            };
        }
    }

    // JS thread, while the environment is alive.
    void settle(Napi::Env env) {
        napi_remove_env_cleanup_hook(env, on_cleanup, this);
        if (thread_.joinable()) {
            thread_.join();
        }
        const std::unique_ptr<JobWorker> self(this);
        try {
            if (code_.empty()) {
                deferred_.Resolve(work_.result(env));
            } else {
                deferred_.Reject(coded_error(env, code_, message_).Value());
            }
        } catch (const Napi::Error &) {
            // The environment is terminating: nobody is left to hear of the result.
        }
    }

    // JS thread, while the environment is torn down. A settle() that is still queued is dropped with the
    // queue.
    static void on_cleanup(void * data) {
        const std::unique_ptr<JobWorker> self(static_cast<JobWorker *>(data));
        self->job_.cancel->store(true);
        self->thread_.join();
    }

    void fail(const char * code, const std::string & message) {
        code_ = code;
        message_ = message;
    }

    Napi::Promise::Deferred deferred_;
    Work work_;
    Job job_;
    Napi::ObjectReference owner_;
    Napi::ThreadSafeFunction to_js_;
    std::thread thread_;
    std::chrono::steady_clock::time_point last_report_{};
    std::string code_ = "INTERNAL"; ///< empty after success
    std::string message_;
};

} // namespace traitscope::addon
