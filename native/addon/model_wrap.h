#pragma once
// JS classes over the core: CancelToken and Model. Translation only; decisions are in lib/.

#include "core/job.h"
#include "core/model.h"

#include <memory>
#include <napi.h>

namespace traitscope::addon {

class CancelToken : public Napi::ObjectWrap<CancelToken> {
  public:
    static Napi::Function define(Napi::Env env);
    explicit CancelToken(const Napi::CallbackInfo & info) : Napi::ObjectWrap<CancelToken>(info) {}

    const CancelFlag & flag() const { return flag_; }

  private:
    void cancel(const Napi::CallbackInfo &) { flag_->store(true); }

    CancelFlag flag_ = std::make_shared<std::atomic<bool>>(false);
};

/// The flag of a CancelToken; one that nobody raises for undefined.
CancelFlag to_cancel(const Napi::Value & value);

class ModelWrap : public Napi::ObjectWrap<ModelWrap> {
  public:
    static Napi::Function define(Napi::Env env);

    /// `load(params, cancel, onProgress?)` fills an empty Model; the constructor itself must not block.
    explicit ModelWrap(const Napi::CallbackInfo & info) : Napi::ObjectWrap<ModelWrap>(info) {}

    void adopt(std::shared_ptr<Model> model) { model_ = std::move(model); }

  private:
    Napi::Value load(const Napi::CallbackInfo & info);
    Napi::Value tokenize(const Napi::CallbackInfo & info);
    Napi::Value detokenize(const Napi::CallbackInfo & info);
    Napi::Value attach(const Napi::CallbackInfo & info);
    Napi::Value detach(const Napi::CallbackInfo & info);
    Napi::Value extract(const Napi::CallbackInfo & info);
    Napi::Value generate(const Napi::CallbackInfo & info);
    Napi::Value memory(const Napi::CallbackInfo & info);
    Napi::Value close(const Napi::CallbackInfo & info);

    /// Throws MODEL_CLOSED. Jobs keep the returned pointer, so the model outlives them whatever JS does.
    std::shared_ptr<Model> model(Napi::Env env) const;

    std::shared_ptr<Model> model_;
};

} // namespace traitscope::addon
