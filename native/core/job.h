#pragma once
// What a running piece of work shares with whoever started it: a flag to stop it and a place to report
// progress.

#include "core/error.h"

#include <atomic>
#include <functional>
#include <memory>

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

} // namespace traitscope
