#pragma once
// The one async-worker template: every call that may take time runs through it.
//
// A Work is a plain struct made on the JS thread from plain values:
//   void run(Job &)                  pool thread; no JS value may be touched; throws traitscope::Error
//   Napi::Value result(Napi::Env)    JS thread, after run() succeeded
// The promise is settled in one place. The environment's cleanup cancels what still runs, so that
// process.exit() or a terminated worker thread waits milliseconds, not minutes.

#include "core/job.h"

#include <chrono>
#include <memory>
#include <napi.h>
#include <new>
#include <set>
#include <string>
#include <utility>

namespace traitscope::addon {

/// Cancel flags of the jobs that run in one environment. Used on its JS thread only.
struct RunningJobs {
    std::set<CancelFlag> flags;

    void cancel_all() const {
        for (const CancelFlag & flag : flags) {
            flag->store(true);
        }
    }
};

Napi::Error coded_error(Napi::Env env, const std::string & code, const std::string & message);

/// Sends fractions to a JS callback, at most every 50 ms plus the last one. Without a callback it does
/// nothing.
class Progress {
  public:
    Progress(Napi::Env env, const Napi::Value & callback);
    ~Progress();
    Progress(const Progress &) = delete;
    Progress & operator=(const Progress &) = delete;

    void report(double fraction); ///< pool thread

  private:
    Napi::ThreadSafeFunction function_;
    std::chrono::steady_clock::time_point last_{};
};

template <typename Work> class JobWorker final : public Napi::AsyncWorker {
  public:
    /// JS thread. `owner` stays referenced while the work runs. The worker deletes itself after settling.
    static Napi::Promise start(Napi::Env env, Work work, CancelFlag cancel, const Napi::Value & progress,
                               const Napi::Object & owner) {
        auto * worker =
            new JobWorker(env, std::move(work), std::move(cancel), progress, owner); // N-API owns it
        worker->Queue();
        return worker->deferred_.Promise();
    }

  protected:
    // Pool thread.
    void Execute() override {
        try {
            work_.run(job_);
        } catch (const Error & error) {
            fail(code_name(error.code()), error.what());
        } catch (const std::bad_alloc &) {
            fail("OUT_OF_MEMORY", "not enough memory");
        } catch (const std::exception & error) {
            fail("INTERNAL", error.what());
        }
    }

    // JS thread.
    void OnOK() override {
        finish();
        deferred_.Resolve(work_.result(Env()));
    }

    // JS thread.
    void OnError(const Napi::Error & error) override {
        finish();
        deferred_.Reject(coded_error(Env(), code_, error.Message()).Value());
    }

  private:
    JobWorker(Napi::Env env, Work work, CancelFlag cancel, const Napi::Value & progress,
              const Napi::Object & owner)
        : Napi::AsyncWorker(env, "traitscope"), deferred_(env), work_(std::move(work)),
          progress_(env, progress), owner_(Napi::Persistent(owner)) {
        job_.cancel = std::move(cancel);
        job_.progress = [this](double fraction) { progress_.report(fraction); };
        env.GetInstanceData<RunningJobs>()->flags.insert(job_.cancel);
    }

    void fail(const char * code, const std::string & message) {
        code_ = code;
        SetError(message);
    }

    void finish() { Env().template GetInstanceData<RunningJobs>()->flags.erase(job_.cancel); }

    Napi::Promise::Deferred deferred_;
    Work work_;
    Progress progress_;
    Job job_;
    Napi::ObjectReference owner_;
    std::string code_ = "INTERNAL";
};

} // namespace traitscope::addon
