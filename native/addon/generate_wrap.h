#pragma once
// Generation between JS and the core: see NativeGenerateRequest and NativeGenerated in lib/binding.ts.

#include "core/generation.h"
#include "core/model.h"

#include <chrono>
#include <functional>
#include <memory>
#include <napi.h>

namespace traitscope::addon {

GenerateRequest to_generate_request(const Napi::Object & value);

struct GenerateWork {
    /// What the worker passes to the progress callback while the work runs.
    using Event = GenerateStep;
    static Napi::Value to_js(Napi::Env env, const Event & step);

    std::shared_ptr<Model> model;
    GenerateRequest request;
    std::function<void(Event)> emit; ///< set by the worker where somebody listens
    GenerateResult result_;

    void run(Job & job);
    Napi::Value result(Napi::Env env) const;
};

} // namespace traitscope::addon
