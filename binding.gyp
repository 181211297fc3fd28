# Only delegates: the one build definition is CMakeLists.txt. Tools that insist on node-gyp end up in the same build.
{
  'targets': [
    {
      'target_name': 'traitscope',
      'type': 'none',
      'actions': [
        {
          'action_name': 'cmake',
          'inputs': ['CMakeLists.txt'],
          'outputs': ['build/Release/traitscope.node'],
          'action': ['node', 'scripts/build-native.mjs'],
        },
      ],
    },
  ],
}
