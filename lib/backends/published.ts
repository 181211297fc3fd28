/** A backend that node-llama-cpp publishes, of the llama.cpp that this package is built with. */
export interface PublishedBackend {
  name: string
  platform: string
  /** Package and exact version on npm. */
  spec: string
  /** What npm calls its tarball. */
  file: string
  integrity: string
  /** Bytes of the tarball. */
  downloadBytes: number
  /** Bytes of what is kept of it. */
  keptBytes: number
  /** Folder of its libraries in the tarball. */
  folder: string
  /** The backend, then the libraries of its package that it needs. */
  libraries: readonly [string, ...string[]]
  /** What the system must bring, with where it comes from. */
  system: readonly { library: string; from: string }[]
  glibc: string
}

/** MIT; the one place that names their versions, which follow llama.cpp's. */
export const PUBLISHED: readonly PublishedBackend[] = [
  {
    name: 'vulkan',
    platform: 'linux-x64',
    spec: '@node-llama-cpp/linux-x64-vulkan@3.22.1',
    file: 'node-llama-cpp-linux-x64-vulkan-3.22.1.tgz',
    integrity:
      'sha512-bBxqU+JOcBu1nb5Qj2zcMci+JByT1E8EajHvYodyNfVIPkEhXh+/HMwR1/BT7xP08YK0hks+kM8fglER0P8JEg==',
    downloadBytes: 24_311_427,
    keptBytes: 44_175_032,
    folder: 'package/bins/linux-x64-vulkan/',
    libraries: ['libggml-vulkan.so', 'libggml-base.so'],
    system: [
      {
        library: 'libvulkan.so.1',
        from: 'the Vulkan loader (Debian/Ubuntu: apt-get install libvulkan1) and a driver',
      },
    ],
    glibc: '2.34',
  },
  {
    name: 'cuda',
    platform: 'linux-x64',
    spec: '@node-llama-cpp/linux-x64-cuda@3.22.1',
    file: 'node-llama-cpp-linux-x64-cuda-3.22.1.tgz',
    integrity:
      'sha512-8rQCjyNNLZJUFit+YpjwlC4hwkKgOMIkB2wuycKBf8NU2O3ySKbiWZQ8aw9ku2nUTXjSnUIrE6KB88itduTBuA==',
    downloadBytes: 142_898_030,
    keptBytes: 159_912_832,
    folder: 'package/bins/linux-x64-cuda/',
    libraries: ['libggml-cuda.so', 'libggml-base.so'],
    system: [
      { library: 'libcuda.so.1', from: "NVIDIA's driver, of CUDA 13 or newer" },
      { library: 'libcudart.so.13', from: 'the CUDA 13 runtime' },
      { library: 'libcublas.so.13', from: 'cuBLAS of CUDA 13' },
      { library: 'libcublasLt.so.13', from: 'cuBLAS of CUDA 13' },
    ],
    glibc: '2.34',
  },
]
