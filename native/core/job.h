#pragma once
// What a running piece of work shares with whoever started it: a flag to stop it and a place to report
// progress.

#include "core/error.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

namespace traitscope {

using CancelFlag = std::shared_ptr<std::atomic<bool>>;

struct Job {
    CancelFlag cancel = std::make_shared<std::atomic<bool>>(false);
    /// Called on the working thread with a fraction in [0, 1]; may be empty.
    std::function<void(double)> progress;

    bool cancelled() const noexcept { return cancel->load(std::memory_order_relaxed); }

    void report(double fraction) const {
        if (progress) {
            progress(fraction);
        }
    }

    void throw_if_cancelled() const {
        if (cancelled()) {
            throw Error(ErrorCode::Aborted, "the operation was aborted");
        }
    }
};

/// The jobs of the process that run now. A process that leaves takes apart what they work with, so it has to
/// stop them first.
class RunningJobs {
  public:
    static RunningJobs & instance() {
        // Never destroyed: a thread may leave after everything else is gone.
        static auto & jobs = *std::make_unique<RunningJobs>().release();
        return jobs;
    }

    void enter(const CancelFlag & cancel) {
        const std::lock_guard<std::mutex> lock(mutex_);
        running_.push_back(cancel);
    }

    void leave(const CancelFlag & cancel) {
        const std::lock_guard<std::mutex> lock(mutex_);
        running_.erase(std::find(running_.begin(), running_.end(), cancel));
        left_.notify_all();
    }

    /// Cancels all and waits for them, but not for ever: what cannot be stopped must not keep a process
    /// alive.
    void stop(std::chrono::milliseconds patience) {
        std::unique_lock<std::mutex> lock(mutex_);
        for (const CancelFlag & cancel : running_) {
            cancel->store(true);
        }
        left_.wait_for(lock, patience, [this] { return running_.empty(); });
    }

  private:
    std::mutex mutex_;
    std::condition_variable left_;
    std::vector<CancelFlag> running_;
};

} // namespace traitscope
