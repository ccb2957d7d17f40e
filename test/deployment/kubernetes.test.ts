import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { configFromEnvironment } from '../../src/config.js'
import { build } from '../support/server.js'
import {
  filesIn,
  kubernetesErrors,
  missingSettings,
  publicPages,
  publicRoutes,
  readProject,
  readYaml,
  secondsToEnd,
  unknownSettings,
  writeSecrets,
  type KubernetesObject,
  type Settings
} from '../support/manifests.js'

/*
 * Checks examples/kubernetes against the types of the Kubernetes API, the standard for restricted
 * pods, and Holdfast's settings, routes and times.
 */
const folder = mkdtempSync(join(tmpdir(), 'holdfast-kubernetes-'))
t.teardown(() => rmSync(folder, { recursive: true, force: true }))
const secret = randomBytes(48).toString('base64')

interface Container {
  name: string
  image: string
  args?: string[]
  envFrom?: { configMapRef?: { name: string } }[]
  ports?: { name: string; containerPort: number }[]
  securityContext?: unknown
  resources?: { requests?: Settings; limits?: Settings }
  volumeMounts?: { name: string; mountPath: string; readOnly?: boolean }[]
  startupProbe?: Probe
  livenessProbe?: Probe
  readinessProbe?: Probe
}
interface Probe {
  httpGet: { path: string; port: string }
  periodSeconds: number
  failureThreshold: number
}
interface PodSpec {
  containers: [Container]
  volumes: { name: string; secret?: { secretName: string } }[]
  terminationGracePeriodSeconds?: number
  restartPolicy?: string
  enableServiceLinks: boolean
  automountServiceAccountToken: boolean
  topologySpreadConstraints?: { labelSelector: { matchLabels: Settings } }[]
}
interface Workload extends KubernetesObject {
  spec: {
    replicas?: number
    selector?: { matchLabels: Settings }
    strategy?: unknown
    template: { metadata: { labels: Settings }; spec: PodSpec }
  }
}

interface ServiceObject extends KubernetesObject {
  spec: { selector: Settings; ports: { name: string; port: number; targetPort: string }[] }
}
interface Rule {
  host: string
  http: { paths: { path: string; pathType: string; backend: unknown }[] }
}
/** The fields that the tests read, by kind. */
interface Kinds {
  Namespace: KubernetesObject
  ConfigMap: KubernetesObject & { data: Settings }
  Secret: KubernetesObject & { stringData: Settings }
  Deployment: Workload
  Job: Workload
  Service: ServiceObject
  PodDisruptionBudget: KubernetesObject & {
    spec: { maxUnavailable: number; selector: { matchLabels: Settings } }
  }
  ServiceMonitor: KubernetesObject & {
    spec: { jobLabel: string; selector: { matchLabels: Settings }; endpoints: unknown[] }
  }
  Ingress: KubernetesObject & { spec: { rules: Rule[]; tls: { hosts: string[] }[] } }
  NetworkPolicy: KubernetesObject & {
    spec: {
      podSelector: { matchLabels: Settings }
      policyTypes: string[]
      ingress: { ports: { port: string }[] }[]
      egress: { ports: { port: number }[] }[]
    }
  }
}

const manifests = filesIn('examples/kubernetes').flatMap(
  (file) => readYaml(readProject(file)) as KubernetesObject[]
)

function objectOf<K extends keyof Kinds>(kind: K, name = 'holdfast'): Kinds[K] {
  const found = manifests.find((object) => object.kind === kind && object.metadata.name === name)
  if (!found) throw new Error(`there is no ${kind} ${name}`)
  return found as Kinds[K]
}

t.test('O10: Kubernetes takes its manifests', async (t) => {
  const own = manifests.filter(({ kind }) => kind !== 'ServiceMonitor')
  t.strictSame(own.map(({ kind }) => kind).toSorted(), [
    'ConfigMap',
    'Deployment',
    'Ingress',
    'Job',
    'Namespace',
    'NetworkPolicy',
    'PodDisruptionBudget',
    'Secret',
    'Service',
    'Service',
    'ServiceAccount'
  ])
  const misspelt = [
    '"terminationGracePeriodSeconds"',
    '"readOnlyRootFilesystem"',
    '"runAsNonRoot"',
    '"failureThreshold"',
    '"topologySpreadConstraints"'
  ].map(
    (key) =>
      JSON.parse(
        JSON.stringify(objectOf('Deployment')).replace(key, key.toLowerCase())
      ) as KubernetesObject
  )
  const ofWrongType = JSON.parse(
    JSON.stringify(objectOf('Deployment')).replace('"replicas":2', '"replicas":"2"')
  ) as KubernetesObject
  const results = kubernetesErrors([...own, ...misspelt, ofWrongType])
  own.forEach(({ kind, metadata: { name } }, index) =>
    t.strictSame(results[index], [], `${kind} ${name}`)
  )
  for (const [index, errors] of results.slice(own.length).entries())
    t.ok(errors.length > 0, `a misspelt field is found: ${errors[0]?.slice(-90) ?? index}`)
  for (const { kind, metadata } of manifests)
    t.equal(metadata.namespace, kind === 'Namespace' ? undefined : 'holdfast', kind)
  // A value in a ConfigMap must be a text: `on` and 3000 are not.
  const { data } = objectOf('ConfigMap')
  for (const [name, value] of Object.entries(data)) t.type(value, 'string', name)
})

t.test(
  'O10: the pods of Kubernetes have their settings and secrets, and run as nobody',
  async (t) => {
    const { data } = objectOf('ConfigMap')
    const { stringData } = objectOf('Secret')
    t.strictSame(unknownSettings(Object.keys(data)), [])
    t.strictSame(missingSettings(data), [])
    const { config, misspelt } = configFromEnvironment({
      ...data,
      ...writeSecrets(folder, data, secret)
    })
    t.strictSame(misspelt, [])
    t.match(config, {
      host: '0.0.0.0',
      port: 3000,
      metricsPort: 9464,
      metricsHost: '0.0.0.0',
      authSecret: secret
    })
    t.throws(
      () =>
        configFromEnvironment({
          ...data,
          AUTH_SECRET_FILE: '',
          AUTH_SECRET: stringData['auth-secret']
        }),
      { message: /AUTH_SECRET: must be 32 bytes or more/ },
      'the example Secret cannot be used'
    )
    for (const value of Object.values(stringData)) t.equal(value, 'replace-me')

    for (const workload of [objectOf('Deployment'), objectOf('Job', 'holdfast-migrate')]) {
      const {
        metadata: { labels },
        spec
      } = workload.spec.template
      const [container] = spec.containers
      t.match(
        spec,
        {
          enableServiceLinks: false,
          automountServiceAccountToken: false,
          securityContext: {
            runAsNonRoot: true,
            runAsUser: 1000,
            runAsGroup: 1000,
            fsGroup: 1000,
            seccompProfile: { type: 'RuntimeDefault' }
          }
        },
        `O12: ${workload.kind}`
      )
      t.match(container, {
        envFrom: [{ configMapRef: { name: 'holdfast' } }],
        securityContext: {
          allowPrivilegeEscalation: false,
          readOnlyRootFilesystem: true,
          capabilities: { drop: ['ALL'] }
        },
        resources: { requests: { cpu: /./, memory: /./ }, limits: { memory: /./ } }
      })
      t.match(container.image, /:\d+\.\d+\.\d+$/)
      t.equal(
        container.image,
        `registry.example.com/holdfast:${(JSON.parse(readProject('package.json')) as { version: string }).version}`
      )
      const mounts = container.volumeMounts ?? []
      for (const { name } of mounts)
        t.ok(
          spec.volumes.some((volume) => volume.name === name),
          name
        )
      const secrets = mounts.find(({ name }) =>
        spec.volumes.some(
          (volume) => volume.name === name && volume.secret?.secretName === 'holdfast'
        )
      )
      for (const [name, path] of Object.entries(data).filter(([name]) => name.endsWith('_FILE'))) {
        t.ok(
          path.startsWith(`${secrets?.mountPath}/`) &&
            path.slice((secrets?.mountPath.length ?? 0) + 1) in stringData,
          `${name}: ${path}`
        )
      }
      t.match(labels, { 'app.kubernetes.io/name': 'holdfast' })
    }
    t.match(objectOf('Namespace'), {
      metadata: { labels: { 'pod-security.kubernetes.io/enforce': 'restricted' } }
    })
    t.match(objectOf('Job', 'holdfast-migrate').spec.template.spec, {
      restartPolicy: 'Never',
      containers: [{ args: ['migrate'] }]
    })
    t.match(readProject('Dockerfile'), /^USER 1000:1000$/m, 'the image runs as the same user')
  }
)

t.test('O10: the parts of Kubernetes fit each other, and the times of Holdfast', async (t) => {
  const { data } = objectOf('ConfigMap')
  const { replicas = 0, selector, strategy, template } = objectOf('Deployment').spec
  const { labels } = template.metadata
  const [container] = template.spec.containers
  const selects = (matched: Settings | undefined) =>
    Object.entries(matched ?? { '': '' }).every(([name, value]) => labels[name] === value)
  t.ok(replicas >= 2)
  t.ok(selects(selector?.matchLabels))
  t.match(strategy, { rollingUpdate: { maxUnavailable: 0, maxSurge: 1 } })
  for (const { labelSelector } of template.spec.topologySpreadConstraints ?? [])
    t.ok(selects(labelSelector.matchLabels))
  t.ok(
    (template.spec.terminationGracePeriodSeconds ?? 0) > secondsToEnd(data),
    'a pod has time to end by itself'
  )
  t.ok(Number(data['DRAIN_DELAY_MS']) >= 5_000, 'ingress controllers have time to notice')

  const ports = new Map(container.ports?.map(({ name, containerPort }) => [name, containerPort]))
  t.equal(ports.get('http'), Number(data['PORT']))
  t.equal(ports.get('metrics'), Number(data['METRICS_PORT']))
  const { app } = await build(t)
  for (const [probe, path] of [
    ['startupProbe', '/health/live'],
    ['livenessProbe', '/health/live'],
    ['readinessProbe', '/health/ready']
  ] as const) {
    t.match(container[probe], { httpGet: { path, port: 'http' } })
    t.equal((await app.inject(path)).statusCode, 200)
  }

  for (const name of ['holdfast', 'holdfast-metrics']) {
    const { spec } = objectOf('Service', name)
    t.ok(selects(spec.selector), name)
    t.strictSame(
      spec.ports.map(({ targetPort }) => targetPort),
      [name === 'holdfast' ? 'http' : 'metrics'],
      `${name}: metrics have their own Service`
    )
  }
  t.match(
    objectOf('Service', 'holdfast-metrics'),
    { spec: { publishNotReadyAddresses: true } },
    'nodes that are not ready are scraped, because an alert needs them'
  )
  const budget = objectOf('PodDisruptionBudget').spec
  t.ok(selects(budget.selector.matchLabels) && budget.maxUnavailable < replicas)
  const monitor = objectOf('ServiceMonitor')
  const metrics = objectOf('Service', 'holdfast-metrics')
  t.match(metrics.metadata.labels, monitor.spec.selector.matchLabels)
  t.equal(
    metrics.metadata.labels?.[monitor.spec.jobLabel],
    'holdfast',
    'the job has the name that the alert rules use'
  )
  t.match(monitor.spec.endpoints, [{ port: metrics.spec.ports[0]?.name, path: '/metrics' }])

  const { rules, tls } = objectOf('Ingress').spec
  t.strictSame(
    rules.map(({ host }) => host),
    tls.flatMap(({ hosts }) => hosts)
  )
  t.strictSame(
    rules.map(({ host }) => `https://${host}`),
    [data['BASE_URL']]
  )
  const paths = rules.flatMap(({ http }) => http.paths)
  t.strictSame(
    paths.map(({ path }) => path.replace(/\/$/, '')).toSorted(),
    [
      ...new Set([...publicRoutes, ...publicPages].map((path) => path.replace(/\/$/, '')))
    ].toSorted()
  )
  for (const { path, pathType, backend } of paths) {
    t.match(backend, {
      service: { name: 'holdfast', port: { name: objectOf('Service').spec.ports[0]?.name } }
    })
    // As a prefix it would let paths below it through.
    if (path === '/session' || path.startsWith('/.well-known')) t.equal(pathType, 'Exact', path)
  }
  const policy = objectOf('NetworkPolicy').spec
  t.ok(selects(policy.podSelector.matchLabels))
  t.strictSame(policy.policyTypes, ['Ingress', 'Egress'])
  for (const { port } of policy.ingress.flatMap((rule) => rule.ports)) t.ok(ports.has(port), port)
  t.strictSame(
    policy.egress.flatMap((rule) => rule.ports.map(({ port }) => port)),
    [53, 53, 5432, 6379]
  )
})
