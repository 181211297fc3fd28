#include "addon/engine.h"

#include "addon/convert.h"
#include "addon/job_worker.h"
#include "core/engine.h"
#include "core/matmul_rate.h"
#include "core/memory_plan.h"
#include "core/quantize.h"
#include "core/self_check.h"

#include <chrono>
#include <string>

namespace traitscope::addon {

namespace {

struct QuantizeWork {
    std::string input;
    std::string output;
    std::string type;
    int32_t n_threads;

    void run(Job &) { quantize_file(input, output, type, n_threads); }
    Napi::Value result(Napi::Env env) const { return env.Undefined(); }
};

struct MatmulRateWork {
    MatmulShape shape;
    int32_t n_threads;
    double seconds;
    bool gpu;
    double rate = 0;

    void run(Job &) { rate = matmul_rate(shape, n_threads, seconds, gpu); }
    Napi::Value result(Napi::Env env) const { return Napi::Number::New(env, rate); }
};

struct PlanMemoryWork {
    ModelSource source;
    Placement placement;
    int32_t max_tokens;
    std::vector<DeviceMemory> devices;

    void run(Job &) { devices = plan_memory(source, placement, max_tokens); }
    Napi::Value result(Napi::Env env) const { return from_memory(env, devices); }
};

struct SelfCheckWork {
    std::string device;
    int32_t n_threads;
    std::vector<SelfCheck> checks;

    void run(Job &) { checks = self_check(device, n_threads); }
    Napi::Value result(Napi::Env env) const {
        auto out = Napi::Array::New(env, checks.size());
        for (size_t i = 0; i < checks.size(); ++i) {
            auto each = Napi::Object::New(env);
            each.Set("type", checks[i].type);
            each.Set("unsplit", checks[i].unsplit);
            each.Set("split", checks[i].split);
            out.Set(static_cast<uint32_t>(i), each);
        }
        return out;
    }
};

template <typename Work> Napi::Value start(const Napi::CallbackInfo & info, Work work) {
    return JobWorker<Work>::start(info.Env(), std::move(work), std::make_shared<std::atomic<bool>>(false), {},
                                  info.Env().Global());
}

/// Runs a call of the core, its errors with their codes.
template <typename Call> void now(const Napi::CallbackInfo & info, Call call) {
    try {
        call();
    } catch (const Error & error) {
        throw coded_error(info.Env(), code_name(error.code()), error.what());
    }
}

void load_backend_libraries(const Napi::CallbackInfo & info) {
    now(info, [&] { load_backends(info[0].As<Napi::String>().Utf8Value()); });
}

void open_needed_libraries(const Napi::CallbackInfo & info) {
    std::vector<std::string> names;
    const auto list = info[0].As<Napi::Array>();
    for (uint32_t i = 0; i < list.Length(); ++i) {
        names.push_back(list.Get(i).As<Napi::String>().Utf8Value());
    }
    now(info, [&] { open_libraries(names); });
}

void load_backend_library(const Napi::CallbackInfo & info) {
    now(info, [&] { load_backend(info[0].As<Napi::String>().Utf8Value()); });
}

void stop_jobs(const Napi::CallbackInfo & info) {
    RunningJobs::instance().stop(std::chrono::milliseconds(info[0].As<Napi::Number>().Int64Value()));
}

Napi::Value devices(const Napi::CallbackInfo & info) {
    const auto list = list_devices();
    auto out = Napi::Array::New(info.Env(), list.size());
    for (size_t i = 0; i < list.size(); ++i) {
        auto device = Napi::Object::New(info.Env());
        device.Set("name", list[i].name);
        device.Set("description", list[i].description);
        device.Set("backend", list[i].backend);
        device.Set("isGpu", list[i].is_gpu);
        device.Set("memoryFree", static_cast<double>(list[i].memory_free));
        device.Set("memoryTotal", static_cast<double>(list[i].memory_total));
        out.Set(static_cast<uint32_t>(i), device);
    }
    return out;
}

Napi::Value precision(const Napi::CallbackInfo & info) {
    const auto switches = precision_switches();
    auto out = Napi::Array::New(info.Env(), switches.size());
    for (size_t i = 0; i < switches.size(); ++i) {
        auto each = Napi::Object::New(info.Env());
        each.Set("name", switches[i].name);
        each.Set("value", switches[i].value);
        each.Set("ours", switches[i].ours);
        out.Set(static_cast<uint32_t>(i), each);
    }
    return out;
}

Napi::Value engine_info(const Napi::CallbackInfo & info) {
    return Napi::String::New(info.Env(), system_info());
}

Napi::Value memory_plan(const Napi::CallbackInfo & info) {
    const auto in = info[0].As<Napi::Object>();
    return start(info, PlanMemoryWork{to_source(in),
                                      to_placement(in),
                                      in.Get("batchTokens").As<Napi::Number>().Int32Value(),
                                      {}});
}

Napi::Value check_device(const Napi::CallbackInfo & info) {
    return start(
        info,
        SelfCheckWork{info[0].As<Napi::String>().Utf8Value(), info[1].As<Napi::Number>().Int32Value(), {}});
}

Napi::Value quantize(const Napi::CallbackInfo & info) {
    return start(
        info, QuantizeWork{info[0].As<Napi::String>().Utf8Value(), info[1].As<Napi::String>().Utf8Value(),
                           info[2].As<Napi::String>().Utf8Value(), info[3].As<Napi::Number>().Int32Value()});
}

Napi::Value matmul(const Napi::CallbackInfo & info) {
    const auto in = info[0].As<Napi::Object>();
    const auto integer = [&](const char * name) { return in.Get(name).As<Napi::Number>().Int64Value(); };
    return start(info, MatmulRateWork{{static_cast<int32_t>(integer("type")), integer("nIn"), integer("nOut"),
                                       integer("nTokens")},
                                      static_cast<int32_t>(integer("threads")),
                                      in.Get("seconds").As<Napi::Number>().DoubleValue(),
                                      in.Get("gpu").As<Napi::Boolean>().Value()});
}

} // namespace

void define_engine(Napi::Env env, Napi::Object exports) {
    exports.Set("loadBackends", Napi::Function::New<load_backend_libraries>(env, "loadBackends"));
    exports.Set("takesBackends", takes_backends());
    exports.Set("openLibraries", Napi::Function::New<open_needed_libraries>(env, "openLibraries"));
    exports.Set("loadBackend", Napi::Function::New<load_backend_library>(env, "loadBackend"));
    exports.Set("stopJobs", Napi::Function::New<stop_jobs>(env, "stopJobs"));
    exports.Set("devices", Napi::Function::New<devices>(env, "devices"));
    exports.Set("precision", Napi::Function::New<precision>(env, "precision"));
    exports.Set("systemInfo", Napi::Function::New<engine_info>(env, "systemInfo"));
    exports.Set("planMemory", Napi::Function::New<memory_plan>(env, "planMemory"));
    exports.Set("selfCheck", Napi::Function::New<check_device>(env, "selfCheck"));
    exports.Set("quantize", Napi::Function::New<quantize>(env, "quantize"));
    exports.Set("matmulRate", Napi::Function::New<matmul>(env, "matmulRate"));
}

} // namespace traitscope::addon
