// The counterpart of scripts/bench_allreduce.cc: the same loop around MPI_Allreduce.
//
//   mpirun -np WORLD_SIZE mpi_allreduce BYTES...
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>

static int num_calls_for(size_t bytes) { return (int)(((size_t)1 << 30) / (bytes + 16384)) + 1; }

int main(int argc, char** argv) {
  MPI_Init(&argc, &argv);
  int rank;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  for (int arg = 1; arg < argc; ++arg) {
    const size_t bytes = strtoull(argv[arg], NULL, 10);
    float* data = calloc(bytes / sizeof(float), sizeof(float));
    const int count = (int)(bytes / sizeof(float));
    const int num_calls = num_calls_for(bytes);
    for (int i = 0; i < num_calls / 10 + 2; ++i) {
      MPI_Allreduce(MPI_IN_PLACE, data, count, MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD);
    }
    MPI_Barrier(MPI_COMM_WORLD);
    const double start = MPI_Wtime();
    for (int i = 0; i < num_calls; ++i) {
      MPI_Allreduce(MPI_IN_PLACE, data, count, MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD);
    }
    const double elapsed = MPI_Wtime() - start;
    if (rank == 0) printf("%zu %.3f\n", bytes, elapsed / num_calls * 1e6);
    free(data);
  }
  MPI_Finalize();
  return 0;
}
