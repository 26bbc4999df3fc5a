/* A delegate for tests: takes as many of a graph's first operators as its option `take` says, and computes nothing.
   Only those parts of the interface are declared that it uses; their order is that of TensorFlow Lite's C header. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

struct ints { int size; int data[]; };
struct context;
struct delegate;
struct registration {
  void *(*init)(struct context *, const char *, size_t);
  void (*free)(struct context *, void *);
  int (*prepare)(struct context *, void *);
  int (*invoke)(struct context *, void *);
  const char *(*profiling_string)(const struct context *, const void *);
  int32_t builtin_code;
  const char *custom_name;
  int version;
  void *unused[8]; /* passed by value: longer than any version's own is harmless */
};
struct context {
  size_t tensors_size;
  int (*execution_plan)(struct context *, struct ints **);
  void *tensors, *impl, *resize, *report, *add, *node;
  int (*replace)(struct context *, struct registration, const struct ints *, struct delegate *);
};
struct delegate {
  void *data;
  int (*prepare)(struct context *, struct delegate *);
  void *copy_from, *copy_to, *free_handle;
  int64_t flags;
  void *unused[8];
};

static void *init(struct context *c, const char *b, size_t n) { (void)c, (void)b, (void)n; return malloc(1); }
static void release(struct context *c, void *state) { (void)c; free(state); }
static int nothing(struct context *c, void *node) { (void)c, (void)node; return 0; }

static int take(struct context *context, struct delegate *self) {
  struct ints *plan, *taken;
  struct registration kernel = {init, release, nothing, nothing, NULL, 0, "test", 1, {NULL}};
  int wanted = (int)(intptr_t)self->data, status = context->execution_plan(context, &plan);
  if (status || !wanted) return status;
  taken = malloc(sizeof(struct ints) + (size_t)wanted * sizeof(int));
  for (taken->size = 0; taken->size < wanted && taken->size < plan->size; taken->size++)
    taken->data[taken->size] = plan->data[taken->size];
  status = context->replace(context, kernel, taken, self);
  free(taken);
  return status;
}

struct delegate *tflite_plugin_create_delegate(char **keys, char **values, size_t count, void (*report)(const char *)) {
  struct delegate *made = calloc(1, sizeof *made);
  (void)report;
  made->prepare = take;
  for (size_t i = 0; i < count; i++)
    if (keys[i][0] == 't') made->data = (void *)(intptr_t)atoi(values[i]);
  return made;
}

void tflite_plugin_destroy_delegate(struct delegate *made) { free(made); }
