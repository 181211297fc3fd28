#include "core/engine.h"

#include "core/log.h"

#include <ggml-backend.h>
#include <llama.h>
#include <mutex>

namespace traitscope {

void init_engine() {
    static std::once_flag once;
    std::call_once(once, [] {
        install_log();
        llama_backend_init();
    });
}

void load_backends(const std::string & folder) {
    init_engine();
    static std::once_flag once;
    std::call_once(once, [&] {
        if (ggml_backend_dev_count() == 0) {
            ggml_backend_load_all_from_path(folder.c_str());
        }
    });
}

std::vector<Device> list_devices() {
    init_engine();
    std::vector<Device> devices;
    for (size_t i = 0; i < ggml_backend_dev_count(); ++i) {
        ggml_backend_dev_t dev = ggml_backend_dev_get(i);
        size_t free = 0;
        size_t total = 0;
        ggml_backend_dev_memory(dev, &free, &total);
        const auto type = ggml_backend_dev_type(dev);
        devices.push_back({ggml_backend_dev_name(dev), ggml_backend_dev_description(dev),
                           type == GGML_BACKEND_DEVICE_TYPE_GPU || type == GGML_BACKEND_DEVICE_TYPE_IGPU,
                           free, total});
    }
    return devices;
}

std::string system_info() {
    init_engine();
    return llama_print_system_info();
}

} // namespace traitscope
