// The counterpart of scripts/bench_collectives.cc: the same loop around MPI_Allreduce.
//
//   mpirun ... mpi_allreduce BYTES:CALLS...
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>

static double seconds_for(float* data, int count, int num_calls) {
  MPI_Barrier(MPI_COMM_WORLD);
  const double start = MPI_Wtime();
  for (int i = 0; i < num_calls; ++i) {
    MPI_Allreduce(MPI_IN_PLACE, data, count, MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD);
  }
  return MPI_Wtime() - start;
}

int main(int argc, char** argv) {
  MPI_Init(&argc, &argv);
  int rank;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  for (int arg = 1; arg < argc; ++arg) {
    char* rest;
    const size_t bytes = strtoull(argv[arg], &rest, 10);
    const int num_calls = atoi(rest + 1);
    const int count = (int)(bytes / sizeof(float));
    float* data = calloc(count, sizeof(float));
    seconds_for(data, count, num_calls / 10 + 1);
    const double seconds = seconds_for(data, count, num_calls);
    if (rank == 0) printf("allReduce:%zu %.3f\n", bytes, seconds / num_calls * 1e6);
    free(data);
  }
  MPI_Finalize();
  return 0;
}
